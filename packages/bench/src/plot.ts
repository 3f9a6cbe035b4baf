import { init } from 'echarts'
import type { Results } from './results.ts'

/** One picture: how figures grow along an axis. */
interface Picture {
  readonly title: string
  readonly axis: string
  readonly curves: readonly string[]
}

/** The pictures by the name of their file. */
const PICTURES: Readonly<Record<string, Picture>> = {
  'growth-of-locks': {
    title: 'Lock and release (W4), and window page to guest page (W5)',
    axis: 'mappings that are locked',
    curves: ['W4', 'W5'],
  },
  'growth-of-misses': {
    title: 'A miss, with an eviction (W7)',
    axis: 'MiB of guest memory',
    curves: ['W7'],
  },
}

/** Draws what the results say of growth: SVG by file name without its ending. */
export function plots(growth: NonNullable<Results['growth']>): ReadonlyMap<string, string> {
  return new Map(Object.entries(PICTURES).map(([name, picture]) => [name, draw(growth, picture)]))
}

function draw(growth: NonNullable<Results['growth']>, { title, axis, curves }: Picture): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: 720, height: 400 })
  const lines = curves.flatMap((curve) => {
    const points = growth[curve] ?? []
    const line = (name: string, key: 'ns' | 'limitNs'): object => ({
      name,
      type: 'line',
      symbolSize: 6,
      lineStyle: { type: key === 'ns' ? 'solid' : 'dashed' },
      data: points.map((point) => [point.at, point[key]]),
    })
    return [line(curve, 'ns'), line(`${curve}: limit`, 'limitNs')]
  })
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    title: { text: title, left: 'center', textStyle: { fontSize: 14 } },
    legend: { bottom: 0 },
    grid: { left: 70, right: 30, top: 64, bottom: 80 },
    xAxis: { type: 'log', name: axis, nameLocation: 'middle', nameGap: 28 },
    yAxis: { type: 'log', name: 'ns' },
    series: lines,
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}
