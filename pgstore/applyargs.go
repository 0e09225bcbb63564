package pgstore

import "github.com/lastcall-go/lastcall/task"

// fenceArgs are the columns that name the runs of changes.
func fenceArgs(items []item) (tasks [][16]byte, runs []int64, workers [][16]byte) {
	n := len(items)
	tasks, runs, workers = make([][16]byte, n), make([]int64, n), make([][16]byte, n)
	for i, it := range items {
		tasks[i], runs[i] = it.key, it.Run
		if i > 0 && it.Worker == items[i-1].Worker {
			workers[i] = workers[i-1]
		} else {
			workers[i] = workerKey(it.Worker)
		}
	}
	return tasks, runs, workers
}

// counterArgs are the columns of the counters: attempts, interruptions, crashes, and the streaks of
// crashes and interruptions.
func counterArgs(items []item) []any {
	n := len(items)
	all := make([]int32, 5*n)
	columns := [5][]int32{all[:n], all[n : 2*n], all[2*n : 3*n], all[3*n : 4*n], all[4*n:]}
	for i, it := range items {
		c := &it.Counters
		for k, v := range [5]int{c.Attempts, c.Interruptions, c.Crashes, c.CrashStreak, c.InterruptStreak} {
			columns[k][i] = clampInt32(v)
		}
	}
	return []any{columns[0], columns[1], columns[2], columns[3], columns[4]}
}

// leftArgs are the columns of what a change leaves: checkpoint, fraction, message and log. A null
// checkpoint or log and a fraction of -1 leave what is there.
func leftArgs(items []item) (checkpoints [][]byte, fractions []float64, messages []string, logs [][]byte) {
	n := len(items)
	checkpoints, fractions, messages, logs = make([][]byte, n), make([]float64, n), make([]string, n), make([][]byte, n)
	for i, it := range items {
		checkpoints[i], fractions[i] = it.Checkpoint, -1
		if p := it.Progress; p != nil {
			fractions[i], messages[i] = p.Fraction, p.Message
		}
		if len(it.Log) > 0 {
			logs[i] = it.Log[max(0, len(it.Log)-task.MaxLog):]
		}
	}
	return checkpoints, fractions, messages, logs
}

// finishArgs are the arguments of the statement FinishRuns: columns with an element for each
// change, and how much of the history and of the log is kept. A delay is in microseconds.
func finishArgs(items []item) []any {
	n := len(items)
	var (
		tasks, runs, workers                   = fenceArgs(items)
		checkpoints, fractions, messages, logs = leftArgs(items)
		statuses, reasons, errors              = make([]string, n), make([]string, n), make([]string, n)
		delays                                 = make([]int64, n)
		suspects, crashed, reclaimed           = make([]bool, n), make([]bool, n), make([]bool, n)
		results                                = make([][]byte, n)
	)
	for i, it := range items {
		statuses[i], reasons[i], errors[i] = string(it.Status), string(it.Reason), it.Error
		delays[i], suspects[i] = it.Delay.Microseconds(), task.Task{Counters: it.Counters}.Suspect()
		crashed[i], reclaimed[i], results[i] = it.Crashed, it.Taken, it.Result
	}
	args := append([]any{tasks, runs, workers, statuses, reasons, errors, delays}, counterArgs(items)...)
	return append(args, suspects, checkpoints, fractions, messages, crashed, reclaimed, results, logs, task.MaxHistory, task.MaxLog)
}

// saveArgs are the arguments of the statement SaveRuns: columns with an element for each change,
// and how much of the log is kept.
func saveArgs(items []item) []any {
	tasks, runs, workers := fenceArgs(items)
	checkpoints, fractions, messages, logs := leftArgs(items)
	args := append([]any{tasks, runs, workers}, counterArgs(items)...)
	return append(args, checkpoints, fractions, messages, logs, task.MaxLog)
}
