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
		name: "sqlitework", unit: "/s",
		what:       "SQLite: 100,000 tasks that do nothing, worked by one process, durable",
		contenders: []contender{{"sqlitestore", workSQLite}, {"riversqlite", riverWorkSQLite}},
		judge:      ratioAtLeast(8),
	},
}
