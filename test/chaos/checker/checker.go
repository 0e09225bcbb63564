// Package checker reads the record of a chaos run and reports which promises were broken. It is
// independent of any store and library: its input is the history, and the final state that separate
// SQL statements have read from the database.
//
// The harness puts the events in order, and their times come from one clock. The times of runs are
// the store's. They are compared with the harness's times only while no fault moves a clock, and
// never more precisely than History.Margin. Where a fault may lose what was answered (Fault.Lossy),
// fewer rules apply to the tasks that used the store meanwhile.
package checker

import (
	"fmt"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// Rule is a promise that the checker checks.
type Rule struct {
	// Name is one word, Promise one sentence.
	Name, Promise string
}

// Breach is a broken promise.
type Breach struct {
	// Rule is the name of the rule.
	Rule string
	// Seq is the task's number, or 0 if the breach concerns no task.
	Seq  int
	Text string
}

// String returns the breach in one line.
func (b Breach) String() string {
	if b.Seq == 0 {
		return b.Rule + ": " + b.Text
	}
	return fmt.Sprintf("%s: task %d: %s", b.Rule, b.Seq, b.Text)
}

// breach is what a rule calls for each breach that it finds.
type breach func(seq int, format string, args ...any)

// rules lists every rule with the function that checks it.
var rules = []struct {
	Rule
	check func(*facts, breach)
}{
	{Rule{"ended", "Every task that was accepted is in the store once, as it was asked for, and has ended: " +
		"it has succeeded with all of its steps done, or it has failed or was cancelled where its " +
		"plan or a command says so."},
		checkEnded},
	{Rule{"kept", "A task that has ended is kept for as long as was asked for or until it is deleted, and is " +
		"removed soon after, with its keys, runs, checkpoints and logs."},
		checkKept},
	{Rule{"invented", "Nothing is in the store that nobody has asked for, that was refused, or whose " +
		"transaction was rolled back, and an answer that a task existed names the one that held " +
		"the key."},
		checkInvented},
	{Rule{"keys", "No task is accepted while another unfinished one has its key."},
		checkKeys},
	{Rule{"paused", "No task of a queue is claimed after a pause of that queue was answered, until somebody " +
		"asks for it to be resumed."},
		checkPaused},
	{Rule{"stale", "No effect of a run is accepted after a newer run of its task has begun, and every " +
		"accepted effect is of a run that the task's history has, in the process that it has."},
		checkStale},
	{Rule{"overlap", "No two runs of a task are at work at the same time, unless the process of the older one " +
		"was dead, stopped, or cut off for a lease, or its unresponsive handler was given up in a " +
		"stop."},
		checkOverlap},
	{Rule{"once", "An effect in the transaction that ends its task is there exactly once if the task has " +
		"succeeded, written by the run that succeeded, and never otherwise."},
		checkOnce},
	{Rule{"order", "A run does one step after the other from the checkpoint that it was given, which is " +
		"never ahead of what was done, and with a checkpoint after each step at most one step " +
		"behind."},
		checkOrder},
	{Rule{"steps", "A step whose result was recorded is never done again, and every later run gets that result, " +
		"which is that of a run that did the step."},
		checkSteps},
	{Rule{"each", "An iteration does its items one after the other and leaves none out, and a later run goes on " +
		"behind the last position that was recorded: at a hand-over, and otherwise as often as was asked for."},
		checkEach},
	{Rule{"ticks", "Each tick of a schedule makes exactly one task, whichever processes die, and none after a " +
		"pause of the schedule was answered."},
		checkTicks},
	{Rule{"expired", "A task that is to start before a time is not begun after it, and only such a task expires, " +
		"then and without a run."},
		checkExpired},
	{Rule{"all", "A command for all tasks of a queue reaches each of them that it is for, or names it as one that " +
		"changed at that moment."},
		checkAll},
	{Rule{"handover", "A run that follows a hand-over begins at exactly the step that was handed over."},
		checkHandOver},
	{Rule{"crashes", "A crash is counted only for a run whose process died, was stopped or cut off for a " +
		"lease, or killed itself, never for a neighbour of a suspect, nor for several suspects of " +
		"one process, and no task fails for crashes but one that kills its process."},
		checkCrashes},
	{Rule{"alive", "The runs of a process are taken away from it only when it is dead, or was stopped or cut " +
		"off for a lease."},
		checkAlive},
	{Rule{"counters", "The counters of a task agree with the runs in its history, and the counts of the store " +
		"with its tasks."},
		checkCounters},
	{Rule{"residue", "At the end nothing is left: no row, file or connection that belongs to nothing, and no " +
		"goroutine or child of a process that has ended."},
		checkResidue},
	{Rule{"grace", "A process that is asked to stop does so within its grace, and one that is left in peace " +
		"goes on."},
		checkGrace},
	{Rule{"growth", "Neither the memory nor the descriptors of a process grow without bound, nor a table by " +
		"more than its tasks need."},
		checkGrowth},
}

// Rules returns every rule that Check knows.
func Rules() []Rule {
	all := make([]Rule, len(rules))
	for i, r := range rules {
		all[i] = r.Rule
	}
	return all
}

// Check returns every breach of a rule, in the order of the rules and then of the tasks.
func Check(h history.History) []Breach {
	f := read(h)
	var breaches []Breach
	for _, r := range rules {
		r.check(f, func(seq int, format string, args ...any) {
			breaches = append(breaches, Breach{Rule: r.Name, Seq: seq, Text: fmt.Sprintf(format, args...)})
		})
	}
	return breaches
}
