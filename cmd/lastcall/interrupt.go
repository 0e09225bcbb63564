package main

import (
	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
)

func newInterrupt() *cobra.Command {
	return taskCommand(task.VerbInterrupt, "Stop running tasks at a checkpoint, for other workers to resume",
		`Make running tasks hand over: each handler is asked to stop and saves its checkpoint. The task can
be resumed at once, for five seconds only by other workers. No attempt is used up.`,
		`  lastcall interrupt 0197c0de-0000-7000-8000-000000000000`,
		backend.Interrupt)
}
