package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/httpapi"
	"github.com/lastcall-go/lastcall/task"
)

func newList() *cobra.Command {
	var (
		p      place
		status string
		q      task.Query
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List tasks, the newest first",
		Example: `  lastcall list --status interrupted
  lastcall list --json --limit 1000 | jq -r 'select(.crashes > 0) | .id'`,
		Args: args(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if status != "" {
				s, err := task.ParseStatus(status)
				if err != nil {
					return usageError{err}
				}
				q.Status = s
			}
			if q.Limit < 1 || q.Limit > 1000 {
				return usageError{fmt.Errorf("--limit %d: use a number from 1 to 1000, and --after for the next ones", q.Limit)}
			}
			return p.with(cmd.Context(), false, func(b backend) error {
				all, err := b.Find(cmd.Context(), q)
				if err != nil {
					return err
				}
				found := make([]httpapi.Task, len(all))
				for i, t := range all {
					found[i] = httpapi.SummaryOf(t)
				}
				if asJSON {
					return printLines(cmd.OutOrStdout(), found)
				}
				return printTable(cmd.OutOrStdout(), found)
			})
		},
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&status, "status", "", "only tasks of this status: queued, running, interrupted, succeeded, failed, cancelled")
	f.StringVar(&q.Kind, "kind", "", "only tasks of this kind")
	f.StringVar(&q.After, "after", "", "continue behind the task of this id")
	f.IntVar(&q.Limit, "limit", 100, "at most so many")
	f.BoolVar(&asJSON, "json", false, "one JSON object a line")
	return cmd
}

func printLines(w io.Writer, tasks []httpapi.Task) error {
	enc := json.NewEncoder(w)
	for _, t := range tasks {
		if err := enc.Encode(t); err != nil {
			return err
		}
	}
	return nil
}

func printTable(w io.Writer, tasks []httpapi.Task) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tKIND\tSTATUS\tSINCE\tDONE")
	for _, t := range tasks {
		fmt.Fprintf(tw, "%s\t%.12s\t%s\t%s\t%.0f%%\n", t.ID, t.Kind, statusWord(t), ago(t.Since), 100*t.Progress.Fraction)
	}
	return tw.Flush()
}

// statusWord is the status, with its reason.
func statusWord(t httpapi.Task) string {
	if t.Status == task.Interrupted {
		return string(t.Status) + "/" + string(t.Reason)
	}
	return string(t.Status)
}

// ago is a rough age.
func ago(t time.Time) string {
	d := max(time.Since(t), 0)
	if d < time.Minute {
		return d.Truncate(time.Second).String()
	}
	return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
}
