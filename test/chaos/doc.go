//go:build linux

// Command chaos exposes a library for background work to faults and checks its promises.
//
// It starts a database, real worker processes and clients, and generates load. By a schedule that
// is derived from a seed it kills, stops and terminates the processes and disturbs the database.
// Then it lets everything recover and waits until every task has ended. At last an independent
// checker compares what the clients received as answers, what the handlers did, what was done to
// the processes, and what the database has.
//
//	chaos -store sqlite -duration 60s -seed 1 -driver PATH
//
// The driver is a program that embeds the library; package wire describes how it talks to the
// harness. Its commands are setup, worker, client and inspect, and upgrade, which makes the schema
// one version newer than the driver. A library without such a promise leaves upgrade out.
//
// The files:
//   - run.go: a run, which has slots (slot.go) for processes (process.go)
//   - hub.go: the hub, which is the ledger of effects
//   - load.go, plan.go: the load
//   - schedule.go: the schedule of faults; their kinds are in kinds.go and a file for each area
//   - record.go, report.go: the record of a run, and the report on it
//   - supervisor.go: the supervisor, which starts a run as its child and removes everything that
//     the run may leave behind
package main
