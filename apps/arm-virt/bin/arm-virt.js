#!/usr/bin/env node
// Committed, so that an installer finds the command before dist is built.
await import('../dist/main.js')
