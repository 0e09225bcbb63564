package main

import "github.com/spf13/cobra"

func newResume() *cobra.Command {
	return queueCommand("resume", "resumed", "Let the tasks of paused queues run again",
		`Let the tasks of paused queues run again. A queue that is not paused is left as it is.`,
		`  lastcall resume default`,
		backend.Resume)
}
