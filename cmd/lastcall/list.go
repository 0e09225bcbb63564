package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

func newList() *cobra.Command {
	var (
		to     target
		by     filter
		order  string
		after  string
		limit  int
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List tasks, the newest first",
		Long: `List tasks, the newest first, or with --order finished those first that ended last. With several
filters a task must match all of them.

` + filterHelp + `

--json prints one object a line, with the keys of the HTTP interface: id, kind, queue, status,
reason, runs, attempts, interruptions, crashes, progress, worker, createdAt, startedAt, finishedAt,
error and others. waitsFor is why no worker runs a task. Empty texts and times are left out.`,
		Example: `  lastcall list --status interrupted
  lastcall list --kind thumbnail --limit 20
  lastcall list --status failed --order finished --finished-from 24h --error "no space left"
  lastcall list --json --limit 1000 | jq -r 'select(.crashes > 0) | .id'`,
		Args: args(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := by.query()
			if err != nil {
				return err
			}
			q.Order, q.After, q.Limit = task.Order(order), after, limit
			if limit < 1 || limit > 1000 {
				return usageError{fmt.Errorf("--limit %d: use a number from 1 to 1000, and --after for the next ones", limit)}
			}
			return to.with(cmd.Context(), false, func(b backend) error {
				all, err := b.Find(cmd.Context(), q)
				if err != nil {
					return err
				}
				out := cmd.OutOrStdout()
				reasons := waitingFor(cmd.Context(), b, all, asJSON) // in a table a delay is not a reason
				if asJSON {
					return printLines(out, all, reasons)
				}
				if err := printTable(out, all, time.Now(), columns(out)); err != nil {
					return err
				}
				printWaiting(cmd.ErrOrStderr(), reasons)
				if len(all) == q.Limit {
					fmt.Fprintf(cmd.ErrOrStderr(), "there may be more: --after %s shows the next ones\n", q.PositionOf(all[len(all)-1]))
				}
				return nil
			})
		},
	}
	to.flags(cmd)
	f := cmd.Flags()
	by.flags(cmd)
	f.StringVar(&order, "order", string(task.OrderCreated), "created, or finished: only tasks that have ended, the last end first")
	f.StringVar(&after, "after", "", "continue after this place, or after the task with this id")
	f.IntVar(&limit, "limit", 100, "the largest number of tasks to list")
	f.BoolVar(&asJSON, "json", false, "one JSON object a line")
	return cmd
}

// waitingFor returns for each task why no worker runs it, "" where no reason is known. It returns
// no reasons at all if the store cannot be asked, since the list is useful without them. delays is
// whether a time that has not come yet counts as a reason.
func waitingFor(ctx context.Context, b backend, tasks []task.Task, delays bool) []string {
	reasons := make([]string, len(tasks))
	if !slices.ContainsFunc(tasks, func(t task.Task) bool { return t.Status.Claimable() }) {
		return reasons
	}
	counts, err := b.Count(ctx)
	if err != nil {
		return reasons
	}
	workers, err := b.Workers(ctx)
	if err != nil {
		return reasons
	}
	now := time.Now()
	for i, t := range tasks {
		if !delays {
			t.RunAt = time.Time{}
		}
		reasons[i] = task.PendingReason(t, workers, counts.Paused, now)
	}
	return reasons
}

// printWaiting prints how many of the tasks of a table wait for what.
func printWaiting(w io.Writer, reasons []string) {
	how := make(map[string]int)
	for _, why := range reasons {
		if why != "" {
			how[why]++
		}
	}
	for _, why := range slices.Sorted(maps.Keys(how)) {
		fmt.Fprintf(w, "%d of these wait: %s\n", how[why], why)
	}
}

func printLines(w io.Writer, tasks []task.Task, waitsFor []string) error {
	enc := json.NewEncoder(w)
	for i, t := range tasks {
		j := httpapi.NewTaskSummary(t)
		j.WaitsFor = waitsFor[i]
		if err := enc.Encode(j); err != nil {
			return err
		}
	}
	return nil
}

// printTable prints a line for each task. If the page has 80 columns or more, no line is wider than
// the page: kinds are cut to fit, and the text about a task gets the columns that are left.
func printTable(w io.Writer, tasks []task.Task, now time.Time, page int) error {
	rows := [][]string{{"ID", "KIND", "STATUS", "SINCE", "DONE", ""}}
	for _, t := range tasks {
		about := t.Error
		if t.Status == task.StatusRunning || about == "" {
			about = t.Progress.Message
		}
		rows = append(rows, []string{
			plain(t.ID), plain(t.Kind), plain(statusWord(t.Status, t.Reason)), ago(t.Since, now),
			percentDone(t.Status, t.Progress.Fraction), plain(about),
		})
	}
	widths := make([]int, 5)
	for _, row := range rows {
		for i := range widths {
			widths[i] = max(widths[i], runewidth.StringWidth(row[i]))
		}
	}
	const gap, kind = 2, 1
	rest := page
	for i, width := range widths {
		if i != kind {
			rest -= width + gap
		}
	}
	widths[kind] = max(min(widths[kind], rest), 6)
	rest -= widths[kind] + gap
	for _, row := range rows {
		var line strings.Builder
		for i, width := range widths {
			line.WriteString(pad(cut(row[i], width), width+gap))
		}
		if rest >= 12 { // a shorter text says nothing
			line.WriteString(cut(row[5], rest))
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// percentDone is how much of a task is done. A task that has succeeded is done, whatever progress
// its handler reported last.
func percentDone(s task.Status, told float64) string {
	return fmt.Sprintf("%3.0f%%", 100*fractionDone(s, told))
}

func fractionDone(s task.Status, told float64) float64 {
	if s == task.StatusSucceeded {
		return 1
	}
	return told
}

// statusWord returns the status, with its reason.
func statusWord(s task.Status, r task.Reason) string {
	if r != "" && s != task.StatusRunning {
		return string(s) + "/" + string(r)
	}
	return string(s)
}

// ago returns a rough age in at most four characters.
func ago(t, now time.Time) string {
	d := max(now.Sub(t), 0)
	switch {
	case t.IsZero():
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d < 999*24*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return "long"
}
