package main

import (
	"slices"
	"syscall"
)

// measures are all that is promised, by subject. The bounds least and most decide whether a promise
// is reached; aim is what we would like.
var measures = slices.Concat(groups, throughput, checkpoints, stops, crowds, waits, inSQLite)

// The contenders that several measures have.
const (
	ours   = "pgstore"
	peer   = "river"
	lite   = "sqlitestore"
	liteOf = "riversqlite"
)

// groups: goroutines and processes, without a store.
var groups = []measure{
	{
		name: "start", what: "start and wait for 1,000,000 short goroutines",
		contenders: []contender{
			every("lastcall.Group", ms(startGroup)), every("sync.WaitGroup", ms(startWaitGroup)),
			every("errgroup", ms(startErrgroup)), every("conc.WaitGroup", ms(startConc)),
		},
		promises: []promise{{ours: figure{"lastcall.Group", duration}, peer: figure{"sync.WaitGroup", duration}, most: 2}},
	},
	{
		name: "memory", what: "memory of a parked goroutine, 100,000 of them",
		contenders: []contender{
			every("Group.Go", only(inBytes, memoryGo)), every("go statement", only(inBytes, memoryBare)),
			every("Group.Loop", only(inBytes, memoryLoop)), every("Group.Background", only(inBytes, memoryBackground)),
		},
		promises: []promise{
			{what: "Go", ours: figure{"Group.Go", inBytes}, peer: figure{"go statement", inBytes}, more: true, most: 200},
			{what: "Loop", ours: figure{"Group.Loop", inBytes}, peer: figure{"go statement", inBytes}, more: true, most: 200},
			{what: "Background", ours: figure{"Group.Background", inBytes}, peer: figure{"go statement", inBytes}, more: true,
				most: 200},
		},
	},
	{
		name: "exit", what: "from SIGTERM to exit: HTTP server, 8 idle keep-alive connections, 1 never used, nothing to do",
		contenders: []contender{every("lastcall.Main", ms(exitIdle)), every("http.Server.Shutdown", ms(exitShutdown))},
		promises:   []promise{{ours: figure{"lastcall.Main", duration}, most: 20}},
	},
	{
		name: "stop", what: "stop 100,000 goroutines that obey their context",
		contenders: []contender{every("lastcall.Group", ms(stopGroup)), every("context tree", ms(stopTree))},
		promises:   []promise{{ours: figure{"lastcall.Group", duration}, peer: figure{"context tree", duration}, most: 2}},
	},
	{
		name: "report", what: "the stacks in a report: 100,000 goroutines of which 3 are stuck",
		contenders: []contender{every("the others have ended", ms(reportEnded))},
		promises:   []promise{{ours: figure{"the others have ended", duration}, most: 500}},
	},
	{
		name: "reportAll", what: "the same while 100,000 other goroutines are parked in the process",
		contenders: []contender{every("the others are parked", ms(reportParked))},
		promises:   []promise{{ours: figure{"the others are parked", duration}, most: 500}},
	},
}

// throughput: many tasks are enqueued and processed, on PostgreSQL.
var throughput = []measure{
	{
		name: "pgwork", what: "200,000 tasks that do nothing, worked by one process, 2,000 at once",
		contenders: []contender{every(ours, workPostgres(nothings(200_000, slots))),
			every(peer, riverPostgres(nothings(200_000, slots)))},
		promises: []promise{{ours: figure{ours, perSecond}, peer: figure{peer, perSecond}, least: 3, aim: 4}},
	},
	{
		name: "pgreal", what: "the same, each with a result, a log line and a progress; River's with RecordOutput",
		contenders: []contender{
			every(ours, workPostgres(realOnes(200_000, slots))), every(peer, riverPostgres(realOnes(200_000, slots))),
			every("no-ops", workPostgres(nothings(200_000, slots))),
		},
		promises: []promise{
			{ours: figure{ours, perSecond}, peer: figure{peer, perSecond}, least: 2.3, aim: 3.5},
			{what: "processor time", ours: figure{ours, processor}, peer: figure{"no-ops", processor}, most: 1.6},
		},
	},
	{
		name: "pgkeys", what: "the no-ops, each with a key of its own; River's with UniqueOpts; 1,000 a call",
		contenders: []contender{every(ours, workPostgres(keyed(200_000))), every(peer, riverPostgres(keyed(200_000)))},
		promises: []promise{
			{what: "enqueue", ours: figure{ours, enqueuedPerSecond}, peer: figure{peer, enqueuedPerSecond}, least: 0.7, aim: 1},
			{what: "work", ours: figure{ours, perSecond}, peer: figure{peer, perSecond}, least: 2},
		},
	},
	{
		name: "pgconflict", what: "50,000 tasks with keys that are free, and again on those keys; River's unique insert",
		contenders: []contender{every(ours, conflictsPostgres), every(peer, conflictsRiver)},
		promises:   conflictPromises(),
	},
	{
		name: "pgretry", what: "100,000 tasks that fail once, are tried again at once, and succeed",
		contenders: []contender{every(ours, workPostgres(failingOnce(100_000))),
			every(peer, riverPostgres(failingOnce(100_000)))},
		promises: []promise{{ours: figure{ours, perSecond}, peer: figure{peer, perSecond}, least: 2, aim: 2.5}},
	},
	{
		name: "pgslots", what: "no-ops (pgwork) and real ones (pgreal) at 10, 100 and 2,000 slots: 10,000, 30,000 and 60,000 tasks",
		contenders: []contender{
			every(ours+" 10", workPostgres(nothings(10_000, 10))), every(peer+" 10", riverPostgres(nothings(10_000, 10))),
			every(ours+" 100", workPostgres(nothings(30_000, 100))), every(peer+" 100", riverPostgres(nothings(30_000, 100))),
			every(ours+" 2,000", workPostgres(nothings(60_000, slots))),
			every(peer+" 2,000", riverPostgres(nothings(60_000, slots))),
			every(ours+" 10 real", workPostgres(realOnes(10_000, 10))),
			every(peer+" 10 real", riverPostgres(realOnes(10_000, 10))),
			every(ours+" 100 real", workPostgres(realOnes(30_000, 100))),
			every(peer+" 100 real", riverPostgres(realOnes(30_000, 100))),
			every(ours+" 2,000 real", workPostgres(realOnes(60_000, slots))),
			every(peer+" 2,000 real", riverPostgres(realOnes(60_000, slots))),
		},
		promises: []promise{
			{what: "10 slots", ours: figure{ours + " 10", perSecond}, peer: figure{peer + " 10", perSecond}, least: 1},
			{what: "100 slots", ours: figure{ours + " 100", perSecond}, peer: figure{peer + " 100", perSecond}, least: 1},
			{what: "2,000 slots", ours: figure{ours + " 2,000", perSecond}, peer: figure{peer + " 2,000", perSecond}, least: 1},
			{what: "10 slots, real", ours: figure{ours + " 10 real", perSecond}, peer: figure{peer + " 10 real", perSecond},
				least: 1},
			{what: "100 slots, real", ours: figure{ours + " 100 real", perSecond}, peer: figure{peer + " 100 real", perSecond},
				least: 1},
			{what: "2,000 slots, real", ours: figure{ours + " 2,000 real", perSecond},
				peer: figure{peer + " 2,000 real", perSecond}, least: 1},
		},
	},
	{
		name: "pgshort", what: "20,000 tasks of 2 ms, worked by one process, ten at once",
		contenders: []contender{every(ours, workPostgres(shortOnes(20_000))), every(peer, riverPostgres(shortOnes(20_000)))},
		promises:   []promise{{ours: figure{ours, perSecond}, peer: figure{peer, perSecond}, least: 1.5}},
	},
	{
		name: "pgbulk", what: "enqueue 200,000 tasks, 5,000 a call; River's InsertManyFast",
		contenders: []contender{every(ours, bulkPostgres), every(peer, riverBulk)},
		promises:   []promise{{ours: figure{ours, perSecond}, peer: figure{peer, perSecond}, least: 1, aim: 1.5}},
	},
	{
		name: "pgtx", what: "enqueue 50,000 tasks in one transaction of the caller's; River's InsertManyFastTx",
		contenders: []contender{every(ours, txPostgres), every(peer, riverTx)},
		promises:   []promise{{ours: figure{ours, perSecond}, peer: figure{peer, perSecond}, least: 0.8, aim: 1.2}},
	},
	{
		name: "pgtxrtt", what: "the same over a network whose round trip is 2 ms: one task, one with a key, 500",
		contenders: []contender{every(ours, farPostgres), every(peer, farRiver)},
		promises: []promise{
			{what: "one", ours: figure{ours, farOne}, peer: figure{peer, farOne}, most: 1.2},
			{what: "one with a key", ours: figure{ours, farKeyed}, peer: figure{peer, farKeyed}, most: 1.2},
			{what: "500", ours: figure{ours, far500}, peer: figure{peer, far500}, most: 1.2},
		},
	},
	{
		name: "pgqueues", what: "10,000 tasks in as many queues, and in one; then an idle worker",
		contenders: []contender{
			every("10,000 queues", queuesPostgres(10_000, 10_000)), every("one queue", queuesPostgres(1, 10_000)),
			once("idle afterwards", idleAfterQueues(10_000)),
		},
		promises: []promise{
			{what: "work", ours: figure{"10,000 queues", perSecond}, peer: figure{"one queue", perSecond}, least: 0.5},
			{what: "idle", ours: figure{"idle afterwards", statements}, most: 2},
		},
	},
}

// checkpoints: checkpoints from many handlers and from one, on PostgreSQL.
var checkpoints = []measure{{
	name: "pgsave", what: "Save from 1,000 handlers at once, from ten and from one; beside bare commits",
	contenders: []contender{every(ours, savePostgres)},
	promises: []promise{
		{what: "1,000 handlers", ours: figure{ours, savesOf1000}, least: 20_000},
		{what: "10 handlers, saves for each commit", ours: figure{ours, savesOf10}, peer: figure{ours, bareCommits},
			least: 5},
		{what: "one handler", ours: figure{ours, saveOfOne}, peer: figure{ours, bareCommit}, most: 1.5},
	},
}, {
	name: "pgsteps", what: "10,000 tasks of ten steps with results of 100 bytes, and of ten Saves of as much",
	contenders: []contender{every(tenSteps, workPostgres(inSteps(10_000))), every(tenSaves, workPostgres(inSaves(10_000)))},
	promises: []promise{
		{ours: figure{tenSteps, perSecond}, peer: figure{tenSaves, perSecond}, least: 0.91},
		{what: "processor time", ours: figure{tenSteps, processor}, peer: figure{tenSaves, processor}, most: 1.1},
	},
}, {
	name: "each", what: "Each over 1,000,000 items that do nothing, saving each second, and a bare loop",
	contenders: []contender{every(ours, only(overTheLoop, eachItem))},
	promises:   []promise{{ours: figure{ours, overTheLoop}, most: 1}},
}}

// stops: running tasks are interrupted, and resumed by the next process, on PostgreSQL.
var stops = []measure{
	{
		name: "pgstop", what: "a stop of 1,000, 10,000 and 100,000 running tasks that hand over with a checkpoint of 100 bytes",
		contenders: []contender{
			every("1,000", stopPostgres(1_000, true)), every("10,000", stopPostgres(10_000, true)),
			every("100,000", stopPostgres(hundredThousand, true)),
		},
		promises: []promise{
			{what: "100,000", ours: figure{"100,000", duration}, most: 2500},
			{what: "each of 100,000 and of 10,000", ours: figure{"100,000", forEach}, peer: figure{"10,000", forEach},
				most: 1.5},
		},
	},
	{
		name: "pgresume", what: "from the start of the next process until it runs those 100,000 and has loaded their checkpoints",
		contenders: []contender{every(ours, resume)},
		promises:   []promise{{ours: figure{ours, duration}, most: 5000}},
	},
	{
		name: "interrupt", what: "100,000 running tasks without a checkpoint, from the stop until all are recorded as interrupted",
		contenders: []contender{every(ours, stopPostgres(hundredThousand, false))},
		promises:   []promise{{ours: figure{ours, duration}, most: 1000}},
	},
	{
		name: "pghandover", what: "after SIGTERM, from the record of the interruption to the run in another process",
		contenders: []contender{every(ours, signalPostgres(syscall.SIGTERM))},
		promises:   []promise{{ours: figure{ours, duration}, most: 20}},
	},
	{
		name: "pgkill", what: "from SIGKILL to the run in another process",
		contenders: []contender{every(ours, signalPostgres(syscall.SIGKILL))},
		promises:   []promise{{ours: figure{ours, duration}, most: 2000}},
	},
}

// crowds: single operations among many tasks, on PostgreSQL.
var crowds = []measure{
	{
		name: "pgmany", what: "operations on one task, a page of pruning and a complete beat while 50,000 run",
		contenders: []contender{every(ours, crowded)},
		promises: []promise{
			{what: "claim, p99", ours: figure{ours, "claim p99 ms"}, most: 10},
			{what: "end, p99", ours: figure{ours, "end p99 ms"}, most: 10},
			{what: "cancel, p99", ours: figure{ours, "cancel p99 ms"}, most: 10},
			{what: "show, p99", ours: figure{ours, "show p99 ms"}, most: 10},
			{what: "interrupt, p99", ours: figure{ours, "interrupt p99 ms"}, most: 10},
			{what: "prune 1,000, p99", ours: figure{ours, "page of pruning p99 ms"}, most: 100},
			{what: "complete beat, p99", ours: figure{ours, "complete beat p99 ms"}, most: 300},
		},
	},
	{
		name: "beat", what: "a heartbeat with 50,000 running tasks, and with 10",
		contenders: []contender{every("50,000 running", beatOf(50_000)), every("10 running", beatOf(10))},
		promises:   []promise{{ours: figure{"50,000 running", duration}, peer: figure{"10 running", duration}, most: 1.5}},
	},
	{
		name: "claim", what: "the 99th percentile of claims of 100 tasks, by what else is there",
		contenders: []contender{
			every("40,000 queued", claimAmong(condition{queued: 40_000})),
			once("5,000,000 queued", claimAmong(condition{queued: 5_000_000})),
			every("old snapshot", claimAmong(condition{queued: 40_000, taken: 300_000})),
			once("million future", claimAmong(condition{queued: 40_000, future: 1_000_000})),
			once("million foreign", claimAmong(condition{queued: 40_000, foreign: 1_000_000})),
		},
		promises: []promise{
			{what: "5,000,000 queued", ours: figure{"5,000,000 queued", p99}, peer: figure{"40,000 queued", p99}, most: 2},
			{what: "300,000 taken under an old snapshot", ours: figure{"old snapshot", p99}, peer: figure{"40,000 queued", p99},
				most: 2},
			{what: "a million for later", ours: figure{"million future", p99}, peer: figure{"40,000 queued", p99}, most: 2},
			{what: "a million of another kind", ours: figure{"million foreign", p99}, peer: figure{"40,000 queued", p99},
				most: 2},
		},
	},
	{
		name: "pgfind", what: "reading among 10,000,000 ended, 1,000,000 waiting and 50,000 running tasks in 10,000 queues",
		contenders: []contender{once(ours, findAmong)},
		promises: []promise{
			{what: "each filter and pair of filters, p95", ours: figure{ours, filtersP95}, most: 100},
			{what: "common filters that hardly meet, p95", ours: figure{ours, hardlyP95}, most: 1000},
			{what: "Get, p95", ours: figure{ours, getP95}, most: 100},
			{what: "History, p95", ours: figure{ours, historyP95}, most: 100},
			{what: "Count, p95", ours: figure{ours, countP95}, most: 100},
			{what: "view by status, kind, time, p95", ours: figure{ours, viewP95}, most: 100},
		},
	},
	commandedMeasure,
	{
		name: "pgsteady", what: "five minutes at 20,000/s, enqueued, worked and pruned, a snapshot held for three of them",
		contenders: []contender{once(ours, steadyLoad)},
		promises: []promise{
			{what: "the rate", ours: figure{ours, steadily}, least: 0.99 * steadyRate},
			{what: "claims, p99", ours: figure{ours, laterClaim}, peer: figure{ours, firstClaim}, most: 2},
			{what: "ends, p99", ours: figure{ours, laterEnd}, peer: figure{ours, firstEnd}, most: 2},
			{what: "size of the tables", ours: figure{ours, sizeLast}, peer: figure{ours, sizeAfter}, most: 1.02},
		},
	},
	{
		name: "pgbloat", what: "size of the tables after 1,000,000 tasks, worked and pruned, and after the first 400,000",
		contenders: []contender{once(ours, bloat)},
		promises:   []promise{{ours: figure{ours, "last MiB"}, peer: figure{ours, "first MiB"}, most: 2}},
	},
}

// waits: how long an idle worker takes to start a task, and what it costs while idle, on
// PostgreSQL.
var waits = []measure{
	{
		name: "pglatency", what: "from Enqueue in one process to the handler in another that is idle",
		contenders: []contender{every(ours, latency)},
		promises: []promise{
			{what: "median", ours: figure{ours, "median ms"}, most: 5},
			{what: "p99", ours: figure{ours, p99}, most: 20},
		},
	},
	{
		name: "pgschedule", what: "10,000 schedules with a tick a minute in three processes, spread over it and all at once",
		contenders: []contender{once("spread", schedules(1)), once("at once", schedules(-1))},
		promises: []promise{
			{what: "spread, each once", ours: figure{"spread", madeOnce}, least: 2 * schedulesEach},
			{what: "at once, each once", ours: figure{"at once", madeOnce}, least: 2 * schedulesEach},
			{what: "spread, late, p99", ours: figure{"spread", lateP99}, most: 250},
			{what: "at once, late, p99", ours: figure{"at once", lateP99}, most: 2000},
			{what: "processor time, spread", ours: figure{"spread", eachOf}, most: 5},
			{what: "processor time, at once", ours: figure{"at once", eachOf}, most: 5},
		},
	},
	{
		name: "idle", what: "statements of an idle worker",
		contenders: []contender{once(ours, idle)},
		promises:   []promise{{ours: figure{ours, statements}, most: 2}},
	},
}

// inSQLite: the same subjects on SQLite, and its own.
var inSQLite = []measure{
	{
		name: "sqlitework", what: "100,000 tasks that do nothing, worked by one process, durable",
		contenders: []contender{every(lite, workSQLite(nothings(100_000, slots))),
			every(liteOf, riverSQLite(nothings(100_000, slots)))},
		promises: []promise{{ours: figure{lite, perSecond}, peer: figure{liteOf, perSecond}, least: 8}},
	},
	{
		name: "sqlitereal", what: "50,000 with a result, a log line and a progress; River's with RecordOutput",
		contenders: []contender{every(lite, workSQLite(realOnes(50_000, slots))),
			every(liteOf, riverSQLite(realOnes(50_000, slots)))},
		promises: []promise{{ours: figure{lite, perSecond}, peer: figure{liteOf, perSecond}, least: 6}},
	},
	{
		name: "sqlitesave", what: "Save from 1,000 handlers at once",
		contenders: []contender{every(lite, saveSQLite)},
		promises:   []promise{{ours: figure{lite, savesOf1000}, least: 10_000}},
	},
	{
		name: "sqlitestop", what: "a stop of 2,000 and of 20,000 running tasks that hand over with a checkpoint of 100 bytes",
		contenders: []contender{every("2,000", stopSQLite(2_000)), every("20,000", stopSQLite(20_000))},
		promises: []promise{
			{what: "20,000", ours: figure{"20,000", duration}, most: 2000},
			{what: "each of 20,000 and of 2,000", ours: figure{"20,000", forEach}, peer: figure{"2,000", forEach}, most: 1.5},
		},
	},
	{
		name: "sqlitequeues", what: "2,000 tasks in as many queues, and in one",
		contenders: []contender{every("2,000 queues", queuesSQLite(2_000, 2_000)),
			every("one queue", queuesSQLite(1, 2_000))},
		promises: []promise{{ours: figure{"2,000 queues", perSecond}, peer: figure{"one queue", perSecond}, least: 0.5}},
	},
	{
		name: "sqliteenqueue", what: "single durable enqueues, from 64 goroutines and from one",
		contenders: []contender{every("64 goroutines", enqueueMany), every("1 goroutine", enqueueOne)},
		promises:   []promise{{ours: figure{"64 goroutines", perSecond}, peer: figure{"1 goroutine", perSecond}, least: 20}},
	},
	{
		name: "sqliteclaim", what: "claims of 100 tasks among 100,000, while the log is brought into the database",
		contenders: []contender{every(lite, claimsSQLite)},
		promises:   []promise{{what: "p99", ours: figure{lite, p99}, most: 20}},
	},
	{
		name: "sqlitehandover", what: "after SIGTERM, from the record of the interruption to the run in another process",
		contenders: []contender{every(lite, signalSQLite(syscall.SIGTERM))},
		promises:   []promise{{ours: figure{lite, duration}, most: 50}},
	},
	{
		name: "sqlitekill", what: "from SIGKILL to the run in another process",
		contenders: []contender{every(lite, signalSQLite(syscall.SIGKILL))},
		promises:   []promise{{ours: figure{lite, duration}, most: 2000}},
	},
}
