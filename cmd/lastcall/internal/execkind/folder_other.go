//go:build !linux

package execkind

import (
	"errors"
	"fmt"
	"os"
)

// errSystem is the error of every function here.
var errSystem = fmt.Errorf("programs are run on Linux only: %w", errors.ErrUnsupported)

// folder is the directory of a run.
type folder struct{}

func makeFolder(string, string) (*folder, string, error) { return nil, "", errSystem }
func openFolder(string) (*folder, error)                 { return nil, errSystem }
func (d *folder) usage(int64) (int64, error)             { return 0, errSystem }
func (d *folder) hold() bool                             { return false }
func (d *folder) close()                                 {}
func (d *folder) look(string) (os.FileInfo, error)       { return nil, errSystem }
func (d *folder) open(string) (*os.File, error)          { return nil, errSystem }
func (d *folder) write(string, []byte) error             { return errSystem }
func (d *folder) mkdir(string) error                     { return errSystem }
func (d *folder) plain(os.FileInfo) bool                 { return false }
func (d *folder) remove() error                          { return errSystem }

func deadFolders(string, func(uint32) bool, func(*folder) bool) error { return nil }
