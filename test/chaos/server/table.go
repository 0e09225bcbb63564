//go:build linux

package server

import (
	"context"
	"syscall"
	"time"
)

// The kinds of faults of a Cluster.
const (
	RestartFast       = "pg-restart-fast"
	RestartImmediate  = "pg-restart-immediate"
	CrashUnsynced     = "pg-crash-unsynced"
	FailoverSync      = "pg-failover-sync"
	FailoverAsync     = "pg-failover-async"
	StandbyOnly       = "pg-standby-only"
	ReadOnly          = "pg-read-only"
	OutOfConnections  = "pg-out-of-connections"
	DiskFullData      = "pg-disk-full-data"
	DiskFullWAL       = "pg-disk-full-wal"
	PoolerSession     = "pg-pooler-session"
	PoolerTransaction = "pg-pooler-transaction"
	Serialization     = "pg-serialization-failures"
	Deadlocks         = "pg-deadlocks"
	LockExclusive     = "pg-lock-exclusive"
	CreateIndex       = "pg-create-index"
	Reindex           = "pg-reindex"
	VacuumFull        = "pg-vacuum-full"
	LongSnapshot      = "pg-long-snapshot"
	Publication       = "pg-publication"
	DumpAndRestore    = "pg-dump-restore"
	ClockForward      = "pg-clock-forward"
	ClockBack         = "pg-clock-back"
)

// injected is the percentage of statements that fail during the faults Serialization and Deadlocks.
const injected = 10

// ClusterFaults are the faults of a Cluster.
func ClusterFaults() []Fault { return list(clusterActs()) }

// clusterActs is the table of the faults of a Cluster.
func clusterActs() []act[*Cluster] {
	type on = *Cluster
	type begin = func(on, context.Context) (ending, error)
	locking := func(sql string) begin {
		return func(c on, ctx context.Context) (ending, error) { return c.lockTable(ctx, sql) }
	}
	raising := func(code string) begin {
		return func(c on, ctx context.Context) (ending, error) { return c.injectErrors(ctx, code, injected) }
	}
	stepping := func(step string) begin {
		return func(c on, ctx context.Context) (ending, error) { return c.stepClock(ctx, step) }
	}
	stopping := func(sig syscall.Signal) begin {
		return func(c on, _ context.Context) (ending, error) { return c.restart(sig) }
	}
	return []act[on]{
		{Fault{RestartFast, "The server is stopped fast, which ends its sessions, and started at the end.", time.Minute, "", nil, true}, stopping(syscall.SIGINT)},
		{Fault{RestartImmediate, "The server is stopped immediately, as by a crash; at the end it is started and recovers.", time.Minute, "", nil, true}, stopping(syscall.SIGQUIT)},
		{Fault{CrashUnsynced, "The server confirms commits that it does not write to the disk; at the end it crashes, recovers, and has lost the last of them.", 30 * time.Second,
			"commits since the beginning", nil, true}, (*Cluster).crashUnsynced},
		{Fault{FailoverSync, "A synchronous standby follows; at the end the server crashes, and the standby is promoted and takes its place.", time.Minute, "", hasStandby, true},
			func(c on, ctx context.Context) (ending, error) { return c.failover(ctx, true) }},
		{Fault{FailoverAsync, "A standby is cut off from what the server commits; at the end the server crashes, and the standby is promoted and takes its place.", 30 * time.Second,
			"commits since the beginning", hasStandby, true}, func(c on, ctx context.Context) (ending, error) { return c.failover(ctx, false) }},
		{Fault{StandbyOnly, "All connections lead to a standby that is not promoted, until they lead to the server again.", time.Minute, "", hasStandby, true}, (*Cluster).standbyOnly},
		{Fault{ReadOnly, "Transactions are read-only by default.", time.Minute, "", nil, false}, (*Cluster).readOnly},
		{Fault{OutOfConnections, "Every connection that the role may open is taken, including those that others close.", time.Minute, "", nil, false}, (*Cluster).outOfConnections},
		{Fault{DiskFullData, "The disk of the data is full, for tables and temporary files.", time.Minute, "", canMount, false},
			func(c on, ctx context.Context) (ending, error) { return c.fillDisk(ctx, "data") }},
		{Fault{DiskFullWAL, "The disk of the log is full: the server crashes when it needs a new file, and cannot recover before the end.", time.Minute, "", canMount, false},
			func(c on, ctx context.Context) (ending, error) { return c.fillDisk(ctx, "wal") }},
		{Fault{PoolerSession, "A PgBouncer in session mode is put between the processes and the server; it may refuse those that started without it.", 5 * time.Minute, "", hasPooler, true},
			func(c on, ctx context.Context) (ending, error) { return c.pool(ctx, "session") }},
		{Fault{PoolerTransaction, "A PgBouncer in transaction mode is put between the processes and the server; it may refuse those that started without it.", 5 * time.Minute, "", hasPooler, true},
			func(c on, ctx context.Context) (ending, error) { return c.pool(ctx, "transaction") }},
		{Fault{Serialization, "A tenth of the statements that write to a table fail with 40001.", time.Minute, "", nil, false}, raising("40001")},
		{Fault{Deadlocks, "A tenth of the statements that write to a table fail with 40P01.", time.Minute, "", nil, false}, raising("40P01")},
		{Fault{LockExclusive, "One of the tables, a different one each time, is locked in access exclusive mode.", time.Minute, "", nil, false}, locking("lock table %s in access exclusive mode")},
		{Fault{CreateIndex, "An index is created on one of the tables, a different one each time, in a transaction that is rolled back at the end: nobody can write to the table meanwhile.", time.Minute, "", nil, false},
			locking("create index on %s ((1))")},
		{Fault{Reindex, "One of the tables, a different one each time, is reindexed, in a transaction that is rolled back at the end.", time.Minute, "", nil, false}, locking("reindex table %s")},
		{Fault{VacuumFull, "Each table is rewritten by vacuum full, one after the other; the fault is over after the last.", time.Minute, "", nil, false}, (*Cluster).vacuumFull},
		{Fault{LongSnapshot, "A transaction keeps its snapshot, so that no dead row is removed.", 5 * time.Minute, "", nil, false}, (*Cluster).longSnapshot},
		{Fault{Publication, "There is a publication for all tables: rows without an identity cannot be updated or deleted.", 5 * time.Minute, "", nil, false}, (*Cluster).publication},
		{Fault{DumpAndRestore, "Connections are refused, the database is dumped and restored into a new server, and that replaces the former one; then the fault is over.", time.Minute,
			"", hasDump, true}, (*Cluster).dumpAndRestore},
		{Fault{ClockForward, "The server's clock is an hour ahead.", 5 * time.Minute, "", hasFaketime, false}, stepping("+3600")},
		{Fault{ClockBack, "The server's clock is an hour behind.", 5 * time.Minute, "", hasFaketime, false}, stepping("-3600")},
	}
}
