//go:build linux

// Command chaos puts a library for background work under faults and checks what it has promised.
//
// It starts a database, real worker processes and clients, makes load, and by a schedule that is
// made from a seed it kills, stops and terminates the processes and disturbs the database. Then it
// lets everything recover, waits until every task has ended, and has an independent checker compare
// what the clients were told, what the handlers did, what was done to the processes, and what the
// database has.
//
//	chaos -store sqlite -duration 60s -seed 1 -driver PATH
//
// The driver is a program that embeds the library; package wire tells how it talks to the harness.
// Its commands are setup, worker, client and inspect, and upgrade, which makes the schema one
// version newer than the driver is; a library without such a promise leaves that out.
//
// The files: a run (run.go) has slots (slot.go) for processes (process.go), a hub (hub.go) that is
// the ledger of effects, load (load.go, plan.go), a schedule (schedule.go) of kinds of faults
// (kinds.go, and a file for each area), and a record (record.go). What comes of it is in report.go.
// A supervisor (supervisor.go) starts a run as its child and removes everything that it may leave.
package main
