package main

import "github.com/spf13/cobra"

func newRetry() *cobra.Command {
	return taskCommand("retry", "Run failed or cancelled tasks again, or waiting ones now",
		`Run failed or cancelled tasks again, with all their attempts and from their last checkpoint. One that waits for its
time, or for its next attempt, runs now.`,
		`  lastcall retry 0197c0de-0000-7000-8000-000000000000
  lastcall list --status failed --json | jq -r .id | xargs lastcall retry`,
		backend.Retry)
}
