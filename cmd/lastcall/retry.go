package main

import (
	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
)

func newRetry() *cobra.Command {
	return taskCommand(task.VerbRetry, "Run failed or cancelled tasks again, or waiting ones now",
		`Run failed or cancelled tasks again, with all their attempts and from their last checkpoint. One that waits for its
time, or for its next attempt, runs now.`,
		`  lastcall retry 0197c0de-0000-7000-8000-000000000000
  lastcall retry --kind thumbnail --error "no space left" --dry-run
  lastcall retry --kind thumbnail --error "no space left" --because "the disk is back"`,
		backend.Retry)
}
