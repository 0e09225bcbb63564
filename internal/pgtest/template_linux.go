package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// template has the files of a new cluster, from which those of the test binary are copied: initdb
// takes five times as much of a processor. They have one system identifier, which no test looks at.
var template struct {
	used   bool // since there is a Main, which removes it
	once   sync.Once
	server *Server // which is never started
	err    error
}

// copyTemplate makes the cluster's files by copying those of the template.
func (s *Server) copyTemplate() error {
	template.once.Do(func() { template.server, template.err = newTemplate(s.bin) })
	if template.err != nil {
		return template.err
	}
	if template.server.bin != s.bin {
		return s.init() // of another version
	}
	from := template.server.Data() + string(filepath.Separator) + "."
	cmd := exec.CommandContext(context.Background(), "cp", "-a", from, s.Data())
	cmd.Dir, cmd.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: s.identity}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("copy the template: %w\n%s", err, out)
	}
	return nil
}

func newTemplate(bin string) (*Server, error) {
	s := &Server{bin: bin}
	err := s.found()
	if err == nil {
		err = s.init()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

func useTemplate() { template.used = true }

// removeTemplate removes what newTemplate has made.
func removeTemplate() error {
	if template.server == nil {
		return nil
	}
	return os.RemoveAll(template.server.dir)
}
