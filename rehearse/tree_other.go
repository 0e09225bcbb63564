//go:build unix && !linux

package rehearse

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
)

func startTree(path string, argv []string, files []*os.File) (tree, error) {
	return startGroup(path, argv, files)
}

func ownFile() (string, error) { return os.Executable() }

// onlyLinux is the error of what needs namespaces.
func onlyLinux(what string) error {
	return fmt.Errorf("rehearse: %s needs namespaces, which %s does not have: run it on Linux, for instance in a container: %w", what, runtime.GOOS, errors.ErrUnsupported)
}

func startImage(*Container) (*program, error)     { return nil, onlyLinux("an image's program") }
func (*program) join([]string) (*exec.Cmd, error) { return nil, onlyLinux("an image's command") }
func (*program) startNamespaced(string) error     { return errNoNamespace }
