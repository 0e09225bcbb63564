package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
)

func newSubmit() *cobra.Command {
	var (
		p      place
		s      submission
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
			s.Kind, s.Payload = args[0], json.RawMessage(args[1])
			if !json.Valid(s.Payload) {
				return fmt.Errorf("the payload is not JSON: %w (in a shell, put it between single quotes)", jsonError(s.Payload))
			}
			return p.with(cmd.Context(), true, func(b backend) error {
				t, existed, err := b.submit(cmd.Context(), s)
				if err != nil {
					return err
				}
				if err := remark(cmd, b, t, existed); err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(t)
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), t.ID)
				return err
			})
		},
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&s.ID, "id", "", "the task's id, a UUID (default: a new one)")
	f.IntVar(&s.Priority, "priority", 0, "the higher number runs first")
	f.StringVar(&s.Delay, "delay", "", "do not begin before this time has gone by, as 90s")
	f.BoolVar(&asJSON, "json", false, "print the task as JSON")
	return cmd
}

// remark says on standard error what a person should know about a task that was accepted.
func remark(cmd *cobra.Command, b backend, t taskJSON, existed bool) error {
	if existed {
		_, err := fmt.Fprintf(cmd.ErrOrStderr(), "lastcall: task %s existed already and was left as it is (%s)\n", t.ID, t.Status)
		return err
	}
	d, ok := b.(*direct)
	if !ok {
		return nil
	}
	known, err := d.known(cmd.Context(), t.Kind)
	if err == nil && !known {
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "lastcall: no running server offers the kind %q now; the task waits for one\n", t.Kind)
	}
	return err
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
