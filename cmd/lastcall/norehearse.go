//go:build norehearse

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// lacking is the answer of a program that was built with the tag norehearse, as that of the
// container image is: the types of Kubernetes and of Compose would make it twice as large, and a
// server rehearses nothing.
const lacking = "rehearse and doctor -f are not in this build, which serves tasks only: they are in the program of go install and of the releases"

// errLacking is an error of the command line, since exit code 1 means that a finding failed.
var errLacking = usageError{errors.New(lacking)}

func newRehearse() *cobra.Command {
	return &cobra.Command{
		Use: "rehearse", Short: "Not in this build", Long: lacking + ".",
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true}, // those of the other builds
		RunE:               func(*cobra.Command, []string) error { return errLacking },
	}
}

func examineManifests(*cobra.Command, []string, string, string) error { return errLacking }
