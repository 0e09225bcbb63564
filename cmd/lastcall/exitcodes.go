package main

import "github.com/spf13/cobra"

// newExitCodes returns the topic "exit-codes" of lastcall help.
func newExitCodes() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `What the exit codes mean.

Every command:
  0    done
  1    an error; standard error has the reason and what to do next
  2    the command line was not understood: nothing was done

lastcall submit --wait:
  0    the task has succeeded
  10   the task has failed
  11   the task was cancelled
  130  Ctrl-C ended the waiting; the task goes on

lastcall logs --follow:
  130  Ctrl-C ended it

lastcall serve, at the end of a stop:
  0    every task has ended, or is recorded so that the next server resumes it
  1    a failure: an error, a panic, a server that ended too early
  3    something did not return in time and was abandoned
  75   work was interrupted that nothing has recorded
  129, 130, 143
       a third signal ended it by force`,
		Example: `  lastcall submit --wait hash-tree '{"dir": "/etc", "out": "/tmp/etc.sums"}' || echo "it ended with $?"`,
	}
}
