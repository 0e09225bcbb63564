package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// template has the files of a new cluster. The clusters of the test binary are copies of it, since
// initdb costs five times the processor time of a copy. All copies have the same system identifier;
// no test depends on it.
var template struct {
	used   bool // Main runs, which removes the template
	once   sync.Once
	server *Server // never started
	err    error
}

// copyTemplate creates the cluster's files as copies of the template's.
func (s *Server) copyTemplate() error {
	template.once.Do(func() { template.server, template.err = newTemplate(s.bin) })
	if template.err != nil {
		return template.err
	}
	if template.server.bin != s.bin {
		return s.init() // the template is of another version
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
	s := &Server{bin: bin, setup: Setup{inMemory: true}}
	err := s.found()
	if err == nil {
		err = s.init()
	}
	if err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

// useTemplate has clusters copied from a template, until removeTemplate.
func useTemplate() {
	clearMemory(memory)
	template.used = true
}

// removeTemplate removes the template that newTemplate has created.
func removeTemplate() error {
	if template.server == nil {
		return nil
	}
	return template.server.remove()
}
