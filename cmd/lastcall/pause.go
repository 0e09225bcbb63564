package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
)

func newPause() *cobra.Command {
	var opt task.PauseOptions
	cmd := queueCommand("pause", "paused", "Stop workers from starting tasks of queues",
		`Stop all workers from starting tasks of queues, until resume. Running tasks go on. With --running
they are asked to hand over too, as interrupt does, and are resumed after lastcall resume. When the
command has ended, no more runs start. A queue that is not known yet can be paused.`,
		`  lastcall pause default
  lastcall pause images mails
  lastcall pause images --running`,
		func(b backend, ctx context.Context, queue string) error { return b.Pause(ctx, queue, &opt) })
	cmd.Flags().BoolVar(&opt.Running, "running", false, "ask running tasks to hand over too")
	return cmd
}
