package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

func newShow() *cobra.Command {
	var (
		to     target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show the history of a task, run by run",
		Long: `Show the history of a task: what it is, and for each run which worker ran it, from when to when, and
why it ended. For each step it shows how far the step is, when that was recorded, by which version
of the program, and how large the record is.

The newest hundred runs are kept. Times are by the store's clock, in this machine's time zone.`,
		Example: `  lastcall show 0197c0de-0000-7000-8000-000000000000
  lastcall show --json 0197c0de-0000-7000-8000-000000000000 | jq .checkpoint`,
		Args: args(1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return to.with(cmd.Context(), false, func(b backend) error {
				t, err := story(cmd.Context(), b, args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(t)
				}
				return printStory(cmd.OutOrStdout(), t, time.Now())
			})
		},
	}
	to.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the task as one JSON object")
	return cmd
}

// printStory prints what a task is, and how each run ended.
func printStory(w io.Writer, t httpapi.Task, now time.Time) error {
	var lines []string
	add := func(name, format string, args ...any) {
		lines = append(lines, pad(name, 9)+plain(fmt.Sprintf(format, args...)))
	}
	add("task", "%s", t.ID)
	add("kind", "%s, queue %s, priority %d", t.Kind, t.Queue, t.Priority)
	if t.Key != "" {
		add("key", "%s", t.Key)
	}
	for _, key := range slices.Sorted(maps.Keys(t.Meta)) {
		add("meta", "%s=%s", key, t.Meta[key])
	}
	add("status", "%s since %s, %s ago", statusWord(t.Status, t.Reason), local(t.Since), ago(t.Since, now))
	add("created", "%s %s", local(t.CreatedAt), t.CreatedAt.Local().Format("MST"))
	add("payload", "%s", cut(string(t.Payload), 1000))
	add("counts", "%d runs, %d attempts, %d interruptions, %d crashes", t.Runs, t.Attempts, t.Interruptions, t.Crashes)
	if t.Suspicion != "" {
		add("suspect", "of the group %s: it was in two crashes in a row, or cut off by three stops, and a worker runs one such group at a time", t.Suspicion)
	}
	if done := fractionDone(t.Status, t.Progress.Fraction); done > 0 || t.Progress.Message != "" {
		add("done", "%.0f%% %q", 100*done, t.Progress.Message)
	}
	if len(t.Checkpoint) > 0 {
		add("saved", "%s", cut(string(t.Checkpoint), 1000))
	}
	addSteps(add, t.Steps)
	if t.WaitsFor != "" {
		add("waits", "%s", t.WaitsFor)
	}
	if !t.StartBefore.IsZero() {
		add("begin", "before %s, or it is cancelled", local(t.StartBefore))
	}
	if t.Error != "" {
		add("error", "%s", t.Error)
	}
	for _, c := range t.Commands {
		add("asked", "%s", askedLine(c))
	}
	if first := t.Runs - len(t.History); first > 0 && len(t.History) > 0 {
		add("runs", "%d earlier ones are no longer kept", first)
	}
	for i, r := range t.History {
		began, ended := runLines(r, now)
		if i > 0 {
			began += pause(t.History[i-1], r)
		}
		add(fmt.Sprintf("run %d", t.Runs-len(t.History)+i+1), "%s", began)
		add("", "%s", ended)
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

// addSteps adds a line for each step.
func addSteps(add func(name, format string, args ...any), steps []httpapi.Step) {
	width := 0
	for _, s := range steps {
		width = max(width, len(s.Name))
	}
	for i, s := range steps {
		name, what := "", string(s.State)
		if i == 0 {
			name = "steps"
		}
		if s.State == task.StepOpen {
			what = "open, goes on behind its cursor"
		}
		if s.Size > 0 {
			what += fmt.Sprintf(", %d bytes", s.Size)
		}
		if s.Version != "" {
			what += ", version " + s.Version
		}
		add(name, "%s  %s  %s", pad(s.Name, width), local(s.SavedAt), what)
	}
}

// askedLine describes a command to a task: what was asked, by whom and why.
func askedLine(c httpapi.Command) string {
	line := local(c.At) + ", " + string(c.Command)
	if c.By != "" {
		line += " by " + c.By
	}
	if c.Reason != "" {
		line += ": " + c.Reason
	}
	return line
}

// runLines describe a run: where it was, from when to when, and why it ended.
func runLines(r httpapi.Run, now time.Time) (began, ended string) {
	end := r.EndedAt
	if end.IsZero() {
		end = now
	}
	took := max(end.Sub(r.StartedAt), 0).Round(time.Millisecond)
	where := fmt.Sprintf("on %s, pid %d, worker %s", r.Host, r.PID, r.Worker)
	if r.EndedAt.IsZero() {
		return fmt.Sprintf("%s, %s so far, %s", local(r.StartedAt), took.Round(time.Second), where), "running"
	}
	ended = string(r.Status) + because(r)
	if r.Error != "" {
		ended += ": " + r.Error
	}
	return fmt.Sprintf("%s for %s, %s", local(r.StartedAt), took, where), ended
}

// reasons explain the reason of an interruption.
var reasons = map[task.Reason]string{
	task.ReasonStop:      "stop: its process was told to end",
	task.ReasonDeadline:  "deadline: its process was told to end, and its time was over before the run was",
	task.ReasonFrozen:    "frozen: its process had stood still for too long",
	task.ReasonLost:      "lost: its worker gave no more signs of life",
	task.ReasonRequested: "requested: somebody asked for it",
	task.ReasonReleased:  "released: its worker gave it back, and nothing is counted",
	task.ReasonTurn:      "turn: it had run for long, and others waited for its slot",
}

// because explains why a run ended, where the status alone does not.
func because(r httpapi.Run) string {
	var why []string
	switch {
	case r.Crashed:
		why = append(why, "its process died")
	case r.Status == task.StatusInterrupted, r.Reason == task.ReasonTurn:
		why = append(why, cmp.Or(reasons[r.Reason], string(r.Reason)))
	}
	switch {
	case r.Status != task.StatusQueued, r.Reason == task.ReasonTurn:
	case r.Error != "":
		why = append(why, "to be tried again")
	default:
		why = append(why, "without an attempt")
	}
	if r.Reclaimed {
		why = append(why, "recorded by another worker")
	}
	if len(why) == 0 {
		return ""
	}
	return " (" + strings.Join(why, "; ") + ")"
}

// pause is the time that a task waited between two runs.
func pause(before, after httpapi.Run) string {
	if before.EndedAt.IsZero() {
		return ""
	}
	return fmt.Sprintf(", resumed %s after the run before", max(after.StartedAt.Sub(before.EndedAt), 0).Round(time.Millisecond))
}

func local(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
