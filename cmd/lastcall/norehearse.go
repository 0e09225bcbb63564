//go:build norehearse

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// errNoRehearse is the answer of a program that was built with the tag norehearse, as that of the
// container image is: the types of Kubernetes and of Compose would make it twice as large, and a
// server rehearses nothing.
var errNoRehearse = errors.New("this build of lastcall serves tasks only: rehearse, and doctor -f, are in the program that go install and the releases have")

func newRehearse() *cobra.Command {
	return &cobra.Command{
		Use: "rehearse", Short: "Not in this build", DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error { return errNoRehearse },
	}
}

func examineManifests(_ *cobra.Command, _ []string, _, _ string) error { return errNoRehearse }
