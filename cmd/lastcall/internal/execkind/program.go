package execkind

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const (
	// firstBytes is how much of a file the system reads to find out its type: the first line of a
	// script must end within it.
	firstBytes = 256
	// maxNested is how many scripts may be interpreters of each other.
	maxNested = 5
)

// MaxString is how many bytes an argument, or a variable with its name, may have on Linux.
func MaxString() int { return 32*os.Getpagesize() - 1 }

// marks are the bytes that files of a type begin with.
var (
	shebang  = []byte("#!")
	elfMark  = []byte(elf.ELFMAG)
	utf8BOM  = []byte("\xef\xbb\xbf")
	utf16BOM = [][]byte{[]byte("\xff\xfe"), []byte("\xfe\xff")}
)

// Problem returns why the system would not start a file as a program, and what to do, as far as the
// file shows it. It returns "" if nothing is wrong, and also if this user may not read the file.
func Problem(path string) string { return problem(path, 0) }

func problem(path string, nested int) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() { // opening a pipe would block
		return ""
	}
	if nested > maxNested {
		return "it is a script whose interpreter is a script, and so on: name in its first line the program at the end"
	}
	if where := noExec(path); where != "" {
		return fmt.Sprintf("it is on a file system that is mounted noexec (%s): put it elsewhere, or mount that without noexec", where)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return ""
	}
	defer f.Close() // only read
	begin := make([]byte, firstBytes)
	n, _ := io.ReadFull(f, begin) // as many bytes as there are
	begin = begin[:n]
	switch {
	case bytes.HasPrefix(begin, elfMark):
		return elfProblem(f)
	case bytes.HasPrefix(begin, shebang):
		return scriptProblem(begin, nested)
	case bytes.HasPrefix(begin, utf8BOM):
		return "it begins with a byte order mark (BOM), behind which the system does not see the #!: save it as UTF-8 without BOM"
	case slices.ContainsFunc(utf16BOM, func(bom []byte) bool { return bytes.HasPrefix(begin, bom) }):
		return "it is text in UTF-16, in which the system does not see the #!: save it as UTF-8 without BOM"
	case n == 0:
		return "it is empty"
	case emulates():
		return ""
	}
	return "it is no program of this machine, and no script, which begins with a line such as #!/bin/sh"
}

// scriptProblem checks the first line of a script.
func scriptProblem(begin []byte, nested int) string {
	line, _, whole := bytes.Cut(begin, []byte("\n"))
	if !whole && len(begin) == firstBytes {
		return fmt.Sprintf("its first line has more than %d bytes, and the system does not read on: shorten it", firstBytes-1)
	}
	if bytes.HasSuffix(line, []byte("\r")) {
		return fmt.Sprintf("its first line ends with CR LF, so that the system looks for %.100q: save it with line ends of Unix (dos2unix)", bytes.TrimLeft(line[len(shebang):], " \t"))
	}
	words := strings.FieldsFunc(string(line[len(shebang):]), func(r rune) bool { return r == ' ' || r == '\t' })
	if len(words) == 0 {
		return "its first line names no interpreter: write #!/bin/sh"
	}
	interpreter := words[0]
	if !filepath.IsAbs(interpreter) {
		return "" // a relative path depends on the directory
	}
	info, err := os.Stat(interpreter)
	switch {
	case err != nil:
		return fmt.Sprintf("its first line names the interpreter %.100q, which is not there: install it, or change the line", interpreter)
	case info.IsDir() || info.Mode()&0o111 == 0:
		return fmt.Sprintf("its first line names the interpreter %.100q, which is not executable: chmod +x it, or change the line", interpreter)
	}
	if why := problem(interpreter, nested+1); why != "" {
		return fmt.Sprintf("its first line names the interpreter %.100q; of that: %s", interpreter, why)
	}
	return ""
}

// machines are the machine types of the programs that a processor runs, by its name in Go.
var machines = map[string][]elf.Machine{
	"amd64": {elf.EM_X86_64, elf.EM_386}, "386": {elf.EM_386},
	"arm64": {elf.EM_AARCH64, elf.EM_ARM}, "arm": {elf.EM_ARM},
}

// elfProblem checks a compiled program.
func elfProblem(f *os.File) string {
	program, err := elf.NewFile(f)
	if err != nil {
		return fmt.Sprintf("it is a program that cannot be read: %v: is the file whole?", err)
	}
	if known := machines[runtime.GOARCH]; known != nil && !slices.Contains(known, program.Machine) {
		if emulates() {
			return ""
		}
		return fmt.Sprintf("it was built for another machine (%v, and this is %s): build it for this one", program.Machine, runtime.GOARCH)
	}
	for _, p := range program.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > 4096 {
			continue
		}
		b, err := io.ReadAll(p.Open())
		loader := string(bytes.TrimRight(b, "\x00"))
		if err != nil || !filepath.IsAbs(loader) {
			continue
		}
		if _, err := os.Stat(loader); err != nil {
			return fmt.Sprintf("it needs the loader %.100q, which is not there: it was built for another C library, as glibc's programs are in an image of musl: "+
				"use one that was built for this system, or that is linked statically", loader)
		}
	}
	return ""
}

// emulates reports whether the system may start programs of other machines (binfmt_misc).
func emulates() bool {
	entries, err := os.ReadDir("/proc/sys/fs/binfmt_misc")
	return err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() != "register" && e.Name() != "status" })
}

// whyNotStarted says where to look when the program could not be started, though config check found
// nothing wrong with it. If the interpreter of a script is missing, the system reports "no such
// file" about the script itself.
func (k Kind) whyNotStarted() string {
	info, err := os.Stat(k.Path)
	switch {
	case err != nil || !info.Mode().IsRegular():
		return "look at exec and dir of kind " + k.Name
	case info.Mode()&0o111 == 0:
		return "it is not executable: chmod +x it"
	}
	if why := Problem(k.Path); why != "" {
		return why
	}
	if f, err := os.OpenFile(k.Path, os.O_RDONLY|nonBlocking, 0); errors.Is(err, os.ErrPermission) {
		return "this user may not read it: look at its mode and owner"
	} else if err == nil {
		_ = f.Close() // only read
	}
	if k.User != nil {
		return fmt.Sprintf("user %d must be able to execute it, and to enter its directory and dir of kind %s", k.User.UID, k.Name)
	}
	return "look at exec and dir of kind " + k.Name
}
