package pgstore

import (
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// setColumn sets element i of a column, an argument with an element for each of n changes. A column
// stays null until an element differs from the default, which all others then have. So a statement
// unpacks only the columns that some change needs.
func setColumn[T any](column *[]T, i, n int, v, otherwise T) {
	if *column == nil {
		*column = slices.Repeat([]T{otherwise}, n)
	}
	(*column)[i] = v
}

// fenceArgs returns the columns that identify the runs of changes.
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

// counterArgs returns the columns of the counters: attempts, interruptions, crashes, and the
// streaks of crashes and of interruptions.
func counterArgs(items []item) []any {
	var columns [5][]int32
	for i, it := range items {
		c := &it.Counters
		for k, v := range [5]int{c.Attempts, c.Interruptions, c.Crashes, c.CrashStreak, c.InterruptStreak} {
			if v != 0 {
				setColumn(&columns[k], i, len(items), clampInt32(v), 0)
			}
		}
	}
	return []any{columns[0], columns[1], columns[2], columns[3], columns[4]}
}

// leftArgs returns the columns of what a change leaves: checkpoint, fraction, message and log. A
// null checkpoint, a null log and a fraction of -1 keep what is stored.
func leftArgs(items []item) []any {
	var (
		n                 = len(items)
		checkpoints, logs [][]byte
		fractions         []float64
		messages          []string
	)
	for i, it := range items {
		if it.Checkpoint != nil {
			setColumn(&checkpoints, i, n, it.Checkpoint, nil)
		}
		if p := it.Progress; p != nil {
			setColumn(&fractions, i, n, p.Fraction, -1)
			if p.Message != "" {
				setColumn(&messages, i, n, p.Message, "")
			}
		}
		if len(it.Log) > 0 {
			setColumn(&logs, i, n, it.Log[max(0, len(it.Log)-task.MaxLog):], nil)
		}
	}
	return []any{checkpoints, fractions, messages, logs}
}

// finishArgs returns the arguments of the statement FinishRuns: columns and, among them, how much
// of the history and of the log is kept. Delays are in microseconds.
func finishArgs(items []item) []any {
	var (
		n                    = len(items)
		tasks, runs, workers = fenceArgs(items)
		statuses             = make([]string, n)
		reasons, errors      []string
		delays, suspicions   []int64
		runAts               []*time.Time
		crashed, reclaimed   []bool
		results              [][]byte
	)
	for i, it := range items {
		statuses[i] = string(it.Status)
		if it.Reason != "" {
			setColumn(&reasons, i, n, string(it.Reason), "")
		}
		if it.Error != "" {
			setColumn(&errors, i, n, it.Error, "")
		}
		if it.Delay != 0 {
			setColumn(&delays, i, n, it.Delay.Microseconds(), 0)
		}
		if !it.RunAt.IsZero() {
			setColumn(&runAts, i, n, &it.RunAt, nil)
		}
		if it.Counters.Suspicion != 0 {
			setColumn(&suspicions, i, n, int64(it.Counters.Suspicion), 0)
		}
		if it.Crashed {
			setColumn(&crashed, i, n, true, false)
		}
		if it.Reclaimed {
			setColumn(&reclaimed, i, n, true, false)
		}
		if it.Result != nil {
			setColumn(&results, i, n, it.Result, nil)
		}
	}
	args := append([]any{tasks, runs, workers, statuses, reasons, errors, delays, crashed, reclaimed, suspicions, results}, counterArgs(items)...)
	return append(append(args, leftArgs(items)...), task.MaxHistory, task.MaxLog, runAts)
}

// saveArgs returns the arguments of the statement SaveRuns: columns and, among them, how much of
// the log is kept.
func saveArgs(items []item) []any {
	tasks, runs, workers := fenceArgs(items)
	args := append([]any{tasks, runs, workers}, counterArgs(items)...)
	args = append(append(args, leftArgs(items)...), task.MaxLog)
	return append(args, stepArgs(items)...)
}

// stepArgs returns the columns of steps: name, place, state, version and body. An empty name means
// that the change has no step, and no state that the step is done.
func stepArgs(items []item) []any {
	var (
		n                       = len(items)
		names, states, versions []string
		places                  []int32
		bodies                  [][]byte
	)
	for i, it := range items {
		if it.Step == nil {
			continue
		}
		setColumn(&names, i, n, it.Step.Name, "")
		setColumn(&places, i, n, clampInt32(it.Step.Place), 0)
		if it.Step.State != task.StepDone {
			setColumn(&states, i, n, string(it.Step.State), string(task.StepDone))
		}
		if it.Step.Version != "" {
			setColumn(&versions, i, n, it.Step.Version, "")
		}
		if it.Step.Body != nil {
			setColumn(&bodies, i, n, it.Step.Body, nil)
		}
	}
	return []any{names, places, states, versions, bodies}
}
