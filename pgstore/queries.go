package pgstore

// queries are the statements, with the schema's name put in.
type queries struct {
	lanes, lane, makeLane                                         string
	add, copyTasks, copyReady                                     string
	exists, takeKey, holder, addOne, makeReady                    string
	claimOne, claimMany, recall, look, promote                    string
	finish, succeed, checkpoint, late, finishOne, logOne          string
	successSheets, interruptionSheets, apart, apartOne, apartTask string
	restore, restoreOne                                           string
	held, unlisted, history, log, count                           string
	incarnate, register, beat, remove, sweep, clear               string
	workers, lockRow, markDead, marked, forget                    string
	pause, resume, lockTask, taskState, onSheet                   string
	running, keepRun, ask                                         string
	dropReady, cancelNow, retried                                 string
	page, prune, pruneSheets, fold                                string
}

func (s *Store) makeQueries() queries {
	return queries{
		lanes: s.sql(lanesSQL), lane: s.sql(laneSQL), makeLane: s.sql(makeLaneSQL),
		add: s.sql(addSQL), copyTasks: s.sql(copyTasksSQL), copyReady: s.sql(copyReadySQL),
		exists: s.sql(existsSQL), takeKey: s.sql(takeKeySQL), holder: s.sql(holderSQL), addOne: s.sql(addOneSQL), makeReady: s.sql(makeReadySQL),
		claimOne: s.sql(claimHead + pickOne + claimTail), claimMany: s.sql(claimHead + pickMany + claimTail), recall: s.sql(recallSQL), look: s.sql(lookSQL), promote: s.sql(promoteSQL),
		finish: s.sql(finishSQL), succeed: s.sql(succeedSQL), checkpoint: s.sql(checkpointSQL), late: s.sql(lateSQL),
		successSheets: s.sql(successSheetsSQL), interruptionSheets: s.sql(interruptionSheetsSQL), apart: s.sql(apartSQL), apartOne: s.sql(apartOneSQL), apartTask: s.sql(apartTaskSQL),
		restore: s.sql(restoreSQL), restoreOne: s.sql(restoreOneSQL),
		finishOne: s.sql(finishOneSQL), logOne: s.sql(logOneSQL),
		held: s.sql(heldSQL), unlisted: s.sql(unlistedSQL), history: s.sql(historySQL), log: s.sql(logSQL), count: s.sql(countSQL),
		incarnate: s.sql(incarnateSQL), register: s.sql(registerSQL), beat: s.sql(beatSQL), remove: s.sql(removeSQL), sweep: s.sql(sweepSQL), clear: s.sql(clearSQL),
		workers: s.sql(workersSQL), lockRow: s.sql(lockRowSQL), markDead: s.sql(markDeadSQL), marked: s.sql(markedSQL), forget: s.sql(forgetSQL),
		pause: s.sql(pauseSQL), resume: s.sql(resumeSQL), lockTask: s.sql(lockTaskSQL), taskState: s.sql(taskStateSQL), onSheet: s.sql(onSheetSQL), running: s.sql(runsSQL), keepRun: s.sql(keepRunSQL), ask: s.sql(askSQL),
		dropReady: s.sql(dropReadySQL), cancelNow: s.sql(cancelNowSQL), retried: s.sql(retriedSQL),
		page: s.sql(pageSQL), prune: s.sql(pruneSQL), pruneSheets: s.sql(pruneSheetsSQL), fold: s.sql(foldSQL),
	}
}
