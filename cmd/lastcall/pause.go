package main

import "github.com/spf13/cobra"

func newPause() *cobra.Command {
	return queueCommand("pause", "paused", "Keep the tasks of queues from being begun",
		`Keep the tasks of queues from being begun, by any worker, until resume. What runs, runs on. When the command has ended no
run begins any more. A queue that is not known yet can be paused.`,
		`  lastcall pause default
  lastcall pause images mails`,
		backend.Pause)
}
