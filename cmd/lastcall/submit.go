package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/httpapi"
	"github.com/lastcall-go/lastcall/task"
)

func newSubmit() *cobra.Command {
	var (
		p      place
		opt    task.Options
		delay  string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "submit KIND JSON",
		Short: "Submit a task, and print its id",
		Long: `Submit a task, and print its id. When this has succeeded the task survives.

With --id a submit whose answer was lost can be sent again: it makes no second task.`,
		Example: `  lastcall submit hash-tree '{"dir": "/usr/share/doc", "out": "/tmp/doc.sums"}'
  lastcall submit --store sqlite:tasks.db --delay 10m gzip-tree '{"dir": "/etc", "out": "/tmp/etc.tar.gz"}'`,
		Args: args(2, "KIND JSON"),
		RunE: func(cmd *cobra.Command, args []string) error {
			payload := []byte(args[1])
			if !json.Valid(payload) {
				return fmt.Errorf("the payload is not JSON: %w (in a shell, put it between single quotes)", jsonError(payload))
			}
			if delay != "" {
				var err error
				if opt.Delay, err = parseDelay(delay); err != nil {
					return err
				}
			}
			return p.with(cmd.Context(), true, func(b backend) error {
				done, err := b.Enqueue(cmd.Context(), args[0], payload, &opt)
				if err != nil {
					return err
				}
				if !asJSON {
					remark(cmd, b, done)
					_, err := fmt.Fprintln(cmd.OutOrStdout(), done.ID)
					return err
				}
				t, err := b.Get(cmd.Context(), done.ID)
				if err != nil {
					return fmt.Errorf("task %s is submitted, but cannot be looked at: %w", done.ID, err)
				}
				remark(cmd, b, done)
				return json.NewEncoder(cmd.OutOrStdout()).Encode(httpapi.TaskOf(t))
			})
		},
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&opt.ID, "id", "", "the task's id, a UUID (default: a new one)")
	f.IntVar(&opt.Priority, "priority", 0, "the higher number runs first")
	f.StringVar(&delay, "delay", "", "do not begin before this time has gone by, as 90s")
	f.BoolVar(&asJSON, "json", false, "print the task as JSON")
	return cmd
}

// remark says on standard error what a person should know about a task that was accepted. It may
// fail: whoever may submit may not always look.
func remark(cmd *cobra.Command, b backend, done task.Enqueued) {
	t, err := b.Get(cmd.Context(), done.ID)
	if err != nil {
		return
	}
	if done.Existed {
		fmt.Fprintf(cmd.ErrOrStderr(), "lastcall: task %s existed already and was left as it is (%s)\n", t.ID, t.Status)
		return
	}
	t.RunAt = time.Time{} // a delay was asked for
	if why, err := waitsFor(cmd.Context(), b, t); err == nil && why != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "lastcall: the task waits: %s\n", why)
	}
}

// waitsFor says why nobody runs a task now.
func waitsFor(ctx context.Context, b backend, t task.Task) (string, error) {
	if !t.Status.Claimable() {
		return "", nil
	}
	counts, err := b.Count(ctx)
	if err != nil {
		return "", err
	}
	workers, err := b.Workers(ctx)
	return httpapi.WaitsFor(t, workers, counts.Paused, time.Now()), err
}

// jsonError is why something is not JSON.
func jsonError(b []byte) error {
	var v any
	return json.Unmarshal(b, &v)
}

func parseDelay(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%w: delay %.40q: use a duration with its unit, as 90s", task.ErrInvalid, s)
	}
	return d, nil
}
