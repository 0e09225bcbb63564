package manifest

import (
	"os/exec"
	"slices"

	"github.com/lastcall-go/lastcall/rehearse"
)

// sidecars adds the restartable init containers whose program is on this machine. It skips the
// others, with a note.
func (p *Plan) sidecars() error {
	for i := range p.workload.Pod.InitContainers {
		c := &p.workload.Pod.InitContainers[i]
		if !p.workload.isSidecar(c) {
			p.note("the init container %s is not run", c.Name)
			continue
		}
		side := &Plan{set: p.set, workload: p.workload, container: c, given: p.given, paths: make(map[string]string), made: p.made, dir: p.dir, remove: p.remove}
		side.given.Image = nil // the only image is that of the program
		command := append(slices.Clone(c.Command), c.Args...)
		if given, ok := p.given.Sidecars[c.Name]; ok {
			command = []string{"/bin/sh", "-c", "exec " + given}
		} else if len(c.Command) == 0 || !isProgram(c.Command[0]) {
			p.note("the sidecar %s is left out, since its image is not here: --sidecar-command %s=COMMAND has another program in its place", c.Name, c.Name)
			continue
		}
		err := side.volumes()
		p.dir, p.remove = side.dir, side.remove
		if err != nil {
			return err
		}
		side.environment(c)
		made := rehearse.Container{Name: c.Name, Env: side.variables()}
		for _, word := range command {
			made.Command = append(made.Command, side.here(side.expand(word)))
		}
		if err := side.lifecycle(&made, c); err != nil {
			return err
		}
		p.Config.Sidecars = append(p.Config.Sidecars, made)
		p.Notes = append(p.Notes, side.Notes...)
		for _, lack := range side.lacks {
			p.lack("sidecar %s: %s", c.Name, lack)
		}
	}
	return nil
}

// isProgram reports whether this machine has a program.
func isProgram(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}
