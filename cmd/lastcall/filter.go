package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
)

const (
	filterHelp = `Times are written as 2026-01-02T03:04:05Z, or as 90m for "90 minutes ago". Status, kind, queue, key
and time of creation are indexed, and so is the time of the end with --order finished. Other filters
look at the tasks one by one.`
	bulkHelp = `Without an ID the command changes all tasks that match the filters, from the newest to the oldest,
in steps of 500; --dry-run only counts them. Without --status it changes the tasks in the statuses
that the command is for. It leaves alone a task that does not match any more when its turn comes. So
it can be stopped at any moment, and be repeated. Times are written as 2026-01-02T03:04:05Z, or as
90m for "90 minutes ago".`
)

// filter holds the flags that select tasks.
type filter struct {
	status, kind, queue, reason []string
	key, worker, errorText      string
	meta                        []string
	times                       [6]string
}

// timeFlags are the names of the flags for times.
var timeFlags = [6]string{"created-from", "created-to", "started-from", "started-to", "finished-from", "finished-to"}

func (f *filter) flags(cmd *cobra.Command) {
	s := cmd.Flags()
	s.StringSliceVar(&f.status, "status", nil, "only tasks of these statuses: queued, running, interrupted, succeeded, failed, cancelled")
	s.StringSliceVar(&f.kind, "kind", nil, "only tasks of these kinds")
	s.StringSliceVar(&f.queue, "queue", nil, "only tasks of these queues")
	s.StringVar(&f.key, "key", "", "only tasks with this key")
	s.StringSliceVar(&f.reason, "reason", nil, "only tasks whose last interruption had one of these reasons")
	s.StringVar(&f.worker, "worker", "", "only tasks whose present or last run is on this worker")
	s.StringVar(&f.errorText, "error", "", "only tasks whose error contains this text")
	s.StringArrayVar(&f.meta, "meta", nil, "only tasks with this metadata, as tenant=acme; may be given several times")
	for i, name := range timeFlags {
		what, bound, _ := strings.Cut(name, "-")
		s.StringVar(&f.times[i], name, "", fmt.Sprintf("only tasks that were %s %s this time", what, map[string]string{"from": "at or after", "to": "before"}[bound]))
	}
}

// query returns the query that the flags describe.
func (f *filter) query() (q task.Query, err error) {
	for _, name := range f.status {
		s, err := task.ParseStatus(name)
		if err != nil {
			return q, usageError{err}
		}
		q.Statuses = append(q.Statuses, s)
	}
	for _, name := range f.reason {
		q.Reasons = append(q.Reasons, task.Reason(name))
	}
	q.Kinds, q.Queues, q.Key, q.Worker, q.ErrorText = f.kind, f.queue, f.key, f.worker, f.errorText
	now := time.Now()
	for i, at := range []*time.Time{&q.Created.From, &q.Created.To, &q.Started.From, &q.Started.To, &q.Finished.From, &q.Finished.To} {
		if f.times[i] == "" {
			continue
		}
		if *at, err = parseTime(f.times[i], now); err != nil {
			return q, usageError{fmt.Errorf("--%s: %w", timeFlags[i], err)}
		}
	}
	q.Meta, err = parseMeta(f.meta)
	return q, err
}

// given reports whether any filter is set.
func (f *filter) given() bool {
	return len(f.status)+len(f.kind)+len(f.queue)+len(f.reason)+len(f.meta)+len(f.key)+len(f.worker)+len(f.errorText)+len(strings.Join(f.times[:], "")) > 0
}

// parseTime reads a point in time, or an age as 90m.
func parseTime(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%.40q is no time: write it as 2026-01-02T03:04:05Z, or as 90m for 90 minutes ago", text)
	}
	return t, nil
}

// bulk holds the flags of a command that changes all tasks that match a filter.
type bulk struct {
	filter
	all, dryRun bool
	limit       int
	after       string
}

func (b *bulk) flags(cmd *cobra.Command) {
	b.filter.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&b.all, "all", false, "all tasks, without a filter")
	f.BoolVar(&b.dryRun, "dry-run", false, "count the tasks, and change nothing")
	f.IntVar(&b.limit, "limit", 0, "the largest number of tasks to change")
	f.StringVar(&b.after, "after", "", "continue after this place, which an earlier call has printed")
}

// check wants ids or filters, and not both.
func (b *bulk) check(ids []string) error {
	filtered := b.given() || b.all || b.dryRun || b.limit != 0 || b.after != ""
	switch {
	case len(ids) > 0 && filtered:
		return usageError{errors.New("name tasks, or say by filters which are meant: not both")}
	case len(ids) == 0 && !b.given() && !b.all:
		return usageError{errors.New("no tasks are named: give ids, or filters as --kind, or --all to mean every task")}
	case b.limit < 0:
		return usageError{fmt.Errorf("--limit %d: use a number of 1 or more", b.limit)}
	}
	return nil
}

// run applies a command to all tasks that match the filters, and prints the result.
func (b *bulk) run(cmd *cobra.Command, to backend, verb task.Verb, asJSON bool) error {
	q, err := b.query()
	if err != nil {
		return err
	}
	q.After = b.after
	told := time.Now()
	done, err := to.Bulk(cmd.Context(), verb, q, &task.BulkOptions{DryRun: b.dryRun, Limit: b.limit, Step: func(r task.BulkResult) {
		if time.Since(told) > 2*time.Second && r.Next != "" {
			told = time.Now()
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s so far\n", verb, bulkWords(r, b.dryRun))
		}
	}})
	if err != nil {
		return fmt.Errorf("%s, until this happened: %w (the same again goes on; it does nothing twice)", bulkWords(done, b.dryRun), err)
	}
	if asJSON {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"command": verb, "dryRun": b.dryRun, "found": done.Found, "done": done.Done,
			"changed": done.Changed, "keyBusy": done.KeyBusy, "next": done.Next})
	} else {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", verb, bulkWords(done, b.dryRun))
	}
	if done.Next != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "there may be more: the same with --after %s goes on\n", done.Next)
	}
	if err == nil && done.KeyBusy > 0 {
		err = fmt.Errorf("%d tasks were left as they were, since other unfinished tasks have their keys", done.KeyBusy)
	}
	return err
}

// bulkWords describes the result in words.
func bulkWords(r task.BulkResult, dryRun bool) string {
	if dryRun {
		return fmt.Sprintf("%d tasks found, nothing done", r.Found)
	}
	said := fmt.Sprintf("%d tasks found, %d done", r.Found, r.Done)
	if r.Changed > 0 {
		said += fmt.Sprintf(", %d left alone, since they have changed meanwhile", r.Changed)
	}
	return said
}
