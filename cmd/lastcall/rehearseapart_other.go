//go:build !linux && !norehearse

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// inside: a process is executed again on Linux only.
func (*imageFlags) inside() (bool, error) { return false, nil }

func (i *imageFlags) apart(*cobra.Command) (done bool, err error) {
	if i.network == networkNone {
		return false, usageError{errors.New("--network none needs Linux")}
	}
	return false, nil
}
