package main

import (
	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
)

func newCancel() *cobra.Command {
	return taskCommand(task.VerbCancel, "End tasks for good",
		`End tasks for good. One that waits is cancelled at once. One that runs is told, and has ended as cancelled when its
handler returns, unless that has succeeded after all. One that was cancelled before is left as it is.`,
		`  lastcall cancel 0197c0de-0000-7000-8000-000000000000
  lastcall cancel --kind thumbnail --status queued --because "wrong size"`,
		backend.Cancel)
}
