import type { DuelResult } from './duel.ts'
import type { Duel, HostileResults } from './run-duels.ts'

/** Least part of its rate alone that a disk keeps beside an attacker. */
const LEAST_RATIO = 0.5

/** The most that 99 of 100 of its requests take then, in milliseconds. */
const MOST_P99 = 10

/** Part of its rate alone that the disk kept. */
export function ratio({ alone, attacked }: DuelResult): number {
  return attacked.requestsPerSecond / alone.requestsPerSecond
}

/** Whether a disk does as well beside an attacker as it should. */
export function isMet({ result }: Duel): boolean {
  return result !== undefined && ratio(result) >= LEAST_RATIO && result.attacked.p99 <= MOST_P99
}

/** Tables for people. */
export function reportDuels({ node, cpu, duels }: HostileResults): string {
  const head =
    '| attack | by | requests/s alone | attacked | ratio | p99 alone, ms | attacked | longest turn, ms | areas | MiB more | lines | |\n' +
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |'
  const met = duels.filter(isMet).length
  return [
    `Node ${node}, ${cpu}\n`,
    '### A disk beside one attacker\n',
    head,
    ...duels.map(row),
    `\nGoal: ${LEAST_RATIO * 100} % of its rate alone, and a p99 of ${MOST_P99} ms; met in ${met} of ${duels.length}.\n`,
    '### What the attackers do\n',
    ...[...new Map(duels.map(({ id, title }) => [id, title]))].map(
      ([id, title]) => `- **${id}**: ${title}`,
    ),
    '',
  ].join('\n')
}

function row(duel: Duel): string {
  const { id, addressing, result, ended } = duel
  if (result === undefined)
    return `| ${id} | ${addressing} | the process ended: ${ended} | | | | | | | | | missed |`
  const { alone, attacked, longestTurn, areas, residentBytes, lines } = result
  const cells = [
    id,
    addressing,
    count(alone.requestsPerSecond),
    count(attacked.requestsPerSecond),
    ratio(result).toFixed(2),
    alone.p99.toFixed(2),
    attacked.p99.toFixed(2),
    longestTurn.toFixed(1),
    count(areas),
    (residentBytes / 2 ** 20).toFixed(0),
    count(lines),
    isMet(duel) ? 'met' : 'missed',
  ]
  return `| ${cells.join(' | ')} |`
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en')
}
