package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
)

func newRetry() *cobra.Command {
	var opt task.RetryOptions
	cmd := taskCommand(task.VerbRetry, "Run failed or cancelled tasks again, or waiting ones now",
		`Run failed or cancelled tasks again, with all their attempts, from their last checkpoint and after
the steps that are recorded. A task that waits for its time, or for its next attempt, runs now.

--from-start removes checkpoint, progress and steps first, so that the next run starts as the first
one did. --skip-step skips a step that is not done: its function is not called, and its result is
empty. "lastcall show" lists the steps; the error of a task names the step that failed.`,
		`  lastcall retry 0197c0de-0000-7000-8000-000000000000
  lastcall retry --skip-step notify 0197c0de-0000-7000-8000-000000000000
  lastcall retry --kind thumbnail --error "no space left" --dry-run
  lastcall retry --kind thumbnail --error "no space left" --because "the disk is back"`,
		func(b backend, ctx context.Context, id string) error { return b.Retry(ctx, id, &opt) })
	cmd.Flags().BoolVar(&opt.FromStart, "from-start", false, "remove the checkpoint, the progress and all steps")
	cmd.Flags().StringSliceVar(&opt.SkipSteps, "skip-step", nil, "the name of a step to skip; may be given several times")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if len(ids) == 0 && (opt.FromStart || len(opt.SkipSteps) > 0) {
			return usageError{errors.New("--from-start and --skip-step are for tasks that are named by their ids")}
		}
		return run(cmd, ids)
	}
	return cmd
}
