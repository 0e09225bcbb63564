package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
)

func newPause() *cobra.Command {
	var opt task.PauseOptions
	cmd := queueCommand("pause", "paused", "Keep the tasks of queues from being begun",
		`Keep the tasks of queues from being begun, by any worker, until resume. What runs, runs on, unless --running asks it to hand
over too, as interrupt does: it goes on after resume. When the command has ended no run begins any more. A queue that is not
known yet can be paused.`,
		`  lastcall pause default
  lastcall pause images mails
  lastcall pause images --running`,
		func(b backend, ctx context.Context, queue string) error { return b.Pause(ctx, queue, &opt) })
	cmd.Flags().BoolVar(&opt.Running, "running", false, "ask what runs to hand over too")
	return cmd
}
