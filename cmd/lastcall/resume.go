package main

import "github.com/spf13/cobra"

func newResume() *cobra.Command {
	return queueCommand("resume", "resumed", "Let workers start tasks of paused queues again",
		`Let workers start tasks of paused queues again. A queue that is not paused stays as it is.`,
		`  lastcall resume default`,
		backend.Resume)
}
