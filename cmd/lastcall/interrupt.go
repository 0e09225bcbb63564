package main

import (
	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
)

func newInterrupt() *cobra.Command {
	return taskCommand(task.VerbInterrupt, "Make running tasks hand over",
		`Make running tasks hand over: each is told to stop, saves its checkpoint, and can be taken up again at once, for five
seconds by other workers only. No attempt is used up.`,
		`  lastcall interrupt 0197c0de-0000-7000-8000-000000000000`,
		backend.Interrupt)
}
