package main

import (
	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
)

func newCancel() *cobra.Command {
	return taskCommand(task.VerbCancel, "End tasks for good",
		`End tasks for good. A waiting task is cancelled at once. The handler of a running task is asked to
stop; when it returns the task is cancelled, unless the handler still succeeds. A task that was
cancelled before stays as it is.`,
		`  lastcall cancel 0197c0de-0000-7000-8000-000000000000
  lastcall cancel --kind thumbnail --status queued --because "wrong size"`,
		backend.Cancel)
}
