package execkind

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

var (
	shebang = []byte("#!")
	elf     = []byte("\x7fELF")
)

// whyNotStarted says where to look when the program could not be started, though config check found
// nothing wrong with it then. For a script whose interpreter is missing the system says "no such
// file" of the script itself.
func (k Kind) whyNotStarted() string {
	info, err := os.Stat(k.Path)
	switch {
	case err != nil || !info.Mode().IsRegular(): // opened, a pipe would keep us waiting
		return "look at exec and dir of kind " + k.Name
	case info.Mode()&0o111 == 0:
		return "it is not executable: chmod +x it"
	}
	f, err := os.OpenFile(k.Path, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return "this user may not read it: look at its mode and owner"
	}
	defer f.Close() // only read
	begin := make([]byte, 256)
	n, _ := io.ReadFull(f, begin) // what there is
	line, _, _ := bytes.Cut(begin[:n], []byte("\n"))
	interpreter, isScript := bytes.CutPrefix(line, shebang)
	if words := bytes.Fields(interpreter); isScript && len(words) > 0 {
		if _, err := os.Stat(string(words[0])); err != nil {
			return fmt.Sprintf("its first line names the interpreter %.100q, which is not there: install it, or change the line", words[0])
		}
	}
	if !isScript && !bytes.HasPrefix(line, elf) {
		return "it is no program of this machine, and no script, which begins with a line such as #!/bin/sh"
	}
	if k.User != nil {
		return fmt.Sprintf("user %d must be able to execute it, and to enter its directory and dir of kind %s", k.User.UID, k.Name)
	}
	return "look at exec and dir of kind " + k.Name
}
