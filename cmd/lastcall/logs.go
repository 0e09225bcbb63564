package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task/httpapi"
)

// interruptedCode is the exit code of a command that Ctrl-C ended while it waited, as in a shell.
const interruptedCode = 128 + int(syscall.SIGINT)

func newLogs() *cobra.Command {
	var (
		to     target
		follow bool
	)
	cmd := &cobra.Command{
		Use:   "logs ID",
		Short: "Print what a task's runs have logged",
		Long: `Print what a task's runs have logged: of all runs together the last 64 KiB.

With --follow it goes on until the task has ended, across hand-overs to other workers. A server that
cannot be reached is asked again. "[...]" on a line replaces text that was dropped. On a terminal,
characters that are not printable are shown as spaces.

Exit codes: 0 also for a task that has failed; 130 when Ctrl-C ended it; the others as in "lastcall
help exit-codes".`,
		Example: `  lastcall logs 0197c0de-0000-7000-8000-000000000000
  lastcall logs -f 0197c0de-0000-7000-8000-000000000000`,
		Args: args(1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return to.with(cmd.Context(), false, func(b backend) error {
				if follow {
					return followLog(cmd, b, args[0])
				}
				log, err := b.Log(cmd.Context(), args[0])
				if err != nil {
					return aboutTask(args[0], err)
				}
				_, err = cmd.OutOrStdout().Write(log)
				return err
			})
		},
	}
	to.flags(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the task has ended")
	return cmd
}

// lookEvery is how often a command that waits for a task reads it.
const lookEvery = 250 * time.Millisecond

func followLog(cmd *cobra.Command, b backend, id string) error {
	ctx, stop := untilInterrupt(cmd.Context())
	defer stop()
	var last error
	for more, err := range httpapi.FollowLog(ctx, b, id, lookEvery) {
		if err != nil {
			if last == nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "lastcall: %v; asking again\n", err)
			}
			last = err
			continue
		}
		last = nil
		if _, err := cmd.OutOrStdout().Write(more); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return exitError(interruptedCode)
	}
	return aboutTask(id, last)
}

// untilInterrupt returns a context that Ctrl-C or SIGTERM ends.
func untilInterrupt(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}
