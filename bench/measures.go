package main

var measures = []measure{
	{
		name: "start", unit: "ms",
		what: "start and wait for 1,000,000 short goroutines",
		contenders: []contender{
			{"lastcall.Group", startGroup}, {"sync.WaitGroup", startWaitGroup},
			{"errgroup", startErrgroup}, {"conc.WaitGroup", startConc},
		},
		judge: ratioAtMost(2.0),
	},
	{
		name: "memory", unit: "bytes",
		what: "memory of a parked goroutine, 100,000 of them",
		contenders: []contender{
			{"Group.Go", memoryGo}, {"go statement", memoryBare},
			{"Group.Loop", memoryLoop}, {"Group.Background", memoryBackground},
		},
		judge: differenceAtMost(200, "go statement"),
	},
	{
		name: "exit", unit: "ms",
		what:       "from SIGTERM to exit: HTTP server, 8 idle keep-alive connections, 1 never used, nothing to do",
		contenders: []contender{{"lastcall.Main", exitIdle}, {"http.Server.Shutdown", exitShutdown}},
		judge:      atMost(20),
	},
	{
		name: "stop", unit: "ms",
		what: "stop 100,000 goroutines that obey their context",
		contenders: []contender{
			{"lastcall.Group", stopGroup}, {"context tree", stopTree},
		},
		judge: ratioAtMost(2.0),
	},
	{
		name: "report", unit: "ms",
		what:       "the stacks in a report: 100,000 goroutines of which 3 are stuck",
		contenders: []contender{{"the others have ended", reportEnded}},
		judge:      atMost(500),
	},
	{
		name: "reportAll", unit: "ms",
		what:       "the same while 100,000 other goroutines are parked in the process",
		contenders: []contender{{"the others are parked", reportParked}},
		judge:      atMost(500),
	},
	{
		name: "pgwork", unit: "/s",
		what:       "PostgreSQL: 200,000 tasks that do nothing, worked by one process",
		contenders: []contender{{"pgstore", workPostgres}, {"river", riverWorkPostgres}},
		judge:      ratioAtLeast(4),
	},
	{
		name: "pgshort", unit: "/s",
		what:       "PostgreSQL: 20,000 tasks of 2 ms, worked by one process, ten at once",
		contenders: []contender{{"pgstore", shortPostgres}, {"river", riverShortPostgres}},
		judge:      ratioAtLeast(1.5),
	},
	{
		name: "sqlitework", unit: "/s",
		what:       "SQLite: 100,000 tasks that do nothing, worked by one process, durable",
		contenders: []contender{{"sqlitestore", workSQLite}, {"riversqlite", riverWorkSQLite}},
		judge:      ratioAtLeast(8),
	},
	{
		name: "pgbulk", unit: "/s",
		what:       "PostgreSQL: enqueue 200,000 tasks, 5,000 a call",
		contenders: []contender{{"pgstore", bulkPostgres}, {"river InsertManyFast", riverBulk}},
		judge:      ratioAtLeast(1.5),
	},
	{
		name: "pglatency", unit: "ms",
		what:       "PostgreSQL: from Enqueue in one process to the handler in another that is idle, median",
		contenders: []contender{{"median", latencyMedian}},
		judge:      atMost(5),
	},
	{
		name: "pglatency99", unit: "ms",
		what:       "the same, the 99th percentile",
		contenders: []contender{{"p99", latencyTail}},
		judge:      atMost(20),
	},
	{
		name: "sqliteenqueue", unit: "/s",
		what:       "SQLite: single durable enqueues",
		contenders: []contender{{"64 goroutines", enqueueMany}, {"1 goroutine", enqueueOne}},
		judge:      ratioAtLeast(20),
	},
	{
		name: "pghandover", unit: "ms",
		what:       "PostgreSQL: after SIGTERM, from the record of the interruption to the run in another process",
		contenders: []contender{{"handover", handoverPostgres}},
		judge:      atMost(20),
	},
	{
		name: "sqlitehandover", unit: "ms",
		what:       "SQLite: the same",
		contenders: []contender{{"handover", handoverSQLite}},
		judge:      atMost(50),
	},
	{
		name: "pgkill", unit: "ms",
		what:       "PostgreSQL: from SIGKILL to the run in another process",
		contenders: []contender{{"takeover", killPostgres}},
		judge:      atMost(2000),
	},
	{
		name: "sqlitekill", unit: "ms",
		what:       "SQLite: the same",
		contenders: []contender{{"takeover", killSQLite}},
		judge:      atMost(2000),
	},
	{
		name: "interrupt", unit: "ms",
		what:       "PostgreSQL: 100,000 running tasks, from the interrupt until all are recorded as interrupted",
		contenders: []contender{{"pgstore", interruptAll}, {"bare move of as many rows", bareMove}, {"bare update of as many rows", bareUpdate}},
		judge:      ratioAtMost(3),
	},
	{
		name: "beat", unit: "ms",
		what:       "PostgreSQL: a heartbeat with 50,000 running tasks, and with 10",
		contenders: []contender{{"50,000 running", beatLarge}, {"10 running", beatSmall}},
		judge:      ratioAtMost(1.5),
	},
	{
		name: "sqliteclaim", unit: "ms",
		what:       "SQLite: claims of 100 tasks among 100,000, while the log is brought into the database",
		contenders: []contender{{"99th percentile", sqliteClaimTail}, {"longest", sqliteClaimLongest}},
		judge:      atMost(20),
	},
	{
		name: "pgbloat", unit: "x",
		what:       "PostgreSQL: how the tables have grown after 1,000,000 tasks, since the first or second 200,000, each worked and pruned",
		contenders: []contender{{"growth", bloat}},
		judge:      atMost(2),
	},
	{
		name: "claim", unit: "ms",
		what: "PostgreSQL: the 99th percentile of claims of 100 tasks, by what else is there",
		contenders: []contender{
			{"40,000 queued", claimFew}, {"5,000,000 queued", claimMany}, {"300,000 taken under an old snapshot", claimOld},
			{"a million future ones", claimFuture}, {"a million of another kind", claimForeign},
		},
		judge: worstAtMost(2),
	},
	{
		name: "idle", unit: "/s",
		what:       "PostgreSQL: statements of an idle worker",
		contenders: []contender{{"statements", idleStatements}},
		judge:      atMost(2),
	},
}
