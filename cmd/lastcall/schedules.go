package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

func newSchedules() *cobra.Command {
	var (
		to     target
		set    string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "schedules",
		Short: "List schedules, with their next and last ticks; pause, resume or run them",
		Long: `List schedules, with their next and last ticks. The list has those of all services on the store,
each with the name of its set before a slash. NEXT is when a schedule is due. If one has been due
for long, no process runs its set.`,
		Example: `  lastcall schedules
  lastcall schedules --set shop --json | jq -r 'select(.paused) | .name'
  lastcall schedules run nightly`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return to.with(cmd.Context(), false, func(b backend) error {
				return listSchedules(cmd.Context(), cmd.OutOrStdout(), b, task.ScheduleQuery{Set: set}, asJSON)
			})
		},
	}
	to.flags(cmd)
	cmd.Flags().StringVar(&set, "set", "", "only those of this set")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	cmd.AddCommand(
		scheduleCommand("pause", "Stop schedules from creating tasks, until resume; missed ticks are not made up for",
			func(ctx context.Context, b backend, name string) (string, error) {
				return "paused", b.PauseSchedule(ctx, name)
			}),
		scheduleCommand("resume", "End a pause",
			func(ctx context.Context, b backend, name string) (string, error) {
				return "resumed", b.ResumeSchedule(ctx, name)
			}),
		scheduleCommand("run", "Create the task of schedules now, even while they are paused", runSchedule))
	return cmd
}

// scheduleCommand creates a command that changes schedules.
func scheduleCommand(name, short string, verb func(context.Context, backend, string) (string, error)) *cobra.Command {
	var to target
	cmd := &cobra.Command{
		Use: name + " NAME...", Short: short,
		Long: short + `.

A schedule is named as "lastcall schedules" prints it, SET/NAME. NAME is enough if only one set has
it.`,
		Example: "  lastcall schedules " + name + " nightly\n  lastcall schedules " + name + " shop/nightly",
		Args:    atLeastOne("NAME..."),
		RunE: func(cmd *cobra.Command, names []string) error {
			return to.with(cmd.Context(), false, func(b backend) error {
				for _, name := range names {
					full, err := findSchedule(cmd.Context(), b, name)
					if err != nil {
						return err
					}
					said, err := verb(cmd.Context(), b, full)
					if err != nil {
						return fmt.Errorf("schedule %s: %w", full, err)
					}
					if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", plain(full), said); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	to.flags(cmd)
	return cmd
}

func runSchedule(ctx context.Context, b backend, name string) (string, error) {
	done, err := b.RunSchedule(ctx, name)
	if done.Outcome == task.OutcomeExisting {
		return "task " + done.ID + " has not ended, and the schedule allows only one at a time: nothing was added", err
	}
	return "task " + done.ID, err
}

// findSchedule returns the full name of a schedule, which may be given without its set.
func findSchedule(ctx context.Context, b backend, name string) (string, error) {
	var found []task.ScheduleInfo
	if set, short, err := task.SplitSchedule(name); err == nil {
		if found, err = b.Schedules(ctx, task.ScheduleQuery{Set: set, Name: short}); err != nil {
			return "", err
		}
	}
	if len(found) == 0 { // a name may have a slash
		var err error
		if found, err = b.Schedules(ctx, task.ScheduleQuery{Name: name, Limit: 2}); err != nil {
			return "", err
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no schedule is called %.100q: \"lastcall schedules\" lists them", name)
	case 1:
		return found[0].Name, nil
	}
	return "", fmt.Errorf("several sets have a schedule %s: say which, as %s or %s", name, found[0].Name, found[1].Name)
}

// listSchedules prints schedules, a page at a time.
func listSchedules(ctx context.Context, w io.Writer, b backend, q task.ScheduleQuery, asJSON bool) error {
	const page = 1000
	enc := json.NewEncoder(w)
	q.Limit = page
	for first := true; ; first = false {
		found, err := b.Schedules(ctx, q)
		if err != nil {
			return err
		}
		if !asJSON && (first || len(found) > 0) {
			err = printSchedules(w, found, time.Now())
		}
		for i := 0; asJSON && i < len(found); i++ {
			err = errors.Join(err, enc.Encode(httpapi.NewSchedule(found[i])))
		}
		if err != nil || len(found) < page {
			return err
		}
		q.AfterSet, q.AfterName, _ = strings.Cut(found[page-1].Name, "/")
	}
}

// printSchedules prints a line for each schedule. Its description gets the columns that are left.
func printSchedules(w io.Writer, schedules []task.ScheduleInfo, now time.Time) error {
	rows := [][]string{{"NAME", "NEXT", "LAST", "KIND", "WHEN"}}
	for _, s := range schedules {
		rows = append(rows, []string{plain(s.Name), nextTick(s, now), ago(s.Last, now), plain(s.Task.Kind), plain(cmp.Or(s.Words, s.Timing))})
	}
	return printRows(w, rows, columns(w))
}

// nextTick returns how long it is until a schedule is due.
func nextTick(s task.ScheduleInfo, now time.Time) string {
	switch {
	case s.Paused:
		return "paused"
	case s.Next.IsZero():
		return "never"
	case s.Next.Before(now.Add(-time.Minute)):
		return "due for " + ago(s.Next, now)
	case s.Next.Before(now):
		return "now"
	}
	return "in " + ago(now, s.Next)
}
