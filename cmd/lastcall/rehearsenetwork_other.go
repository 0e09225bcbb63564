//go:build !linux && !norehearse

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func enterNetwork(*cobra.Command) (done bool, err error) {
	return true, usageError{errors.New("--network none needs Linux")}
}
