package execkind

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lastcall-go/lastcall/internal/execfile"
	"github.com/lastcall-go/lastcall/task"
)

// binaryOf returns the bytes of a small ELF program of a machine that needs a loader.
func binaryOf(machine elf.Machine, loader string) []byte {
	head := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(machine), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1}
	copy(head.Ident[:], elf.ELFMAG)
	head.Ident[elf.EI_CLASS], head.Ident[elf.EI_DATA], head.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	prog := elf.Prog64{Type: uint32(elf.PT_INTERP), Off: 120, Filesz: uint64(len(loader) + 1), Memsz: uint64(len(loader) + 1)}
	var b bytes.Buffer
	err := errors.Join(binary.Write(&b, binary.LittleEndian, &head), binary.Write(&b, binary.LittleEndian, &prog))
	if err != nil {
		panic(err)
	}
	b.WriteString(loader + "\x00")
	return b.Bytes()
}

func TestProblem_OfAFileThatIsNoProgramSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := execfile.Write(path, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := write("plain", "no interpreter\n")
	if err := os.Chmod(plain, 0o600); err != nil {
		t.Fatal(err)
	}
	nested := "/bin/sh"
	for _, name := range []string{"1", "2", "3", "4", "5", "6", "7"} {
		nested = write(name, "#!"+nested+"\n")
	}
	for content, want := range map[string]string{
		"#!/bin/sh\nexit 0\n":                   "",
		"#! /bin/sh -e\nexit 0\n":               "",
		"#!/bin/sh":                             "",
		"#!/bin/sh\r\nexit 0\r\n":               `its first line ends with CR LF, so that the system looks for "/bin/sh\r"`,
		"#!/usr/bin/env python3\r\n":            "line ends of Unix",
		"#!/no/such/thing -x\n":                 `names the interpreter "/no/such/thing", which is not there`,
		"#!" + plain + "\n":                     "which is not executable",
		"#!" + filepath.Join(dir, "3") + "\n":   "",
		"#!" + nested + "\n":                    "is a script, and so on",
		"#!" + write("bad", "#!/none\n") + "\n": `of that: its first line names the interpreter "/none"`,
		"#!\n":                                  "names no interpreter",
		"#!/bin/sh " + strings.Repeat("x", 300): "more than 255 bytes",
		"\xef\xbb\xbf#!/bin/sh\n":               "byte order mark (BOM)",
		"\xff\xfe#\x00!\x00":                    "UTF-16",
		"":                                      "it is empty",
		"exit 0\n":                              "no program of this machine, and no script",
		"\x7fELF":                               "is the file whole?",

		string(binaryOf(here(), "/no/ld-musl.so")): `needs the loader "/no/ld-musl.so", which is not there`,
		string(binaryOf(here(), "/bin/sh")):        "",
		string(binaryOf(elf.EM_S390, "/bin/sh")):   "built for another machine (EM_S390",
	} {
		if emulates() && strings.Contains(want, "machine") {
			continue // the system may have an emulator for it
		}
		if got := Problem(write("program", content)); got != want && (want == "" || !strings.Contains(got, want)) {
			t.Errorf("%.40q: %q, want %q", content, got, want)
		}
	}
	if self, err := os.Executable(); err != nil || Problem(self) != "" {
		t.Errorf("of this program: %q, %v", Problem(self), err)
	}
}

// here is the machine type of this machine.
func here() elf.Machine {
	self, err := elf.Open("/proc/self/exe")
	if err != nil {
		panic(err)
	}
	defer self.Close() // only read
	return self.Machine
}

func TestProblem_AMountWithoutExecutionIsSaid(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount")
	}
	f := newFixture(t, "exit 0")
	if err := unix.Mount("tmpfs", f.dir, "tmpfs", unix.MS_NOEXEC, "size=1m"); err != nil {
		t.Skipf("a tmpfs cannot be mounted here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(f.dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	f.kind.Path = filepath.Join(f.dir, "program")
	if err := execfile.Write(f.kind.Path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	id := f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.released(id), task.StatusInterrupted, task.ReasonReleased, 0, 0, 0, "permission denied: it is on a file system that is mounted noexec ("+f.dir+")")
	f.stop()
}

func TestProblem_OfAVariableThatIsTooLongIsSaidByTheRun(t *testing.T) {
	f := newFixture(t, "exit 0")
	f.kind.Env = append(f.kind.Env, "LONG="+strings.Repeat("x", MaxString()))
	id := f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.released(id), task.StatusInterrupted, task.ReasonReleased, 0, 0, 0, "its arguments and environment are too long: none may have more than")
	f.stop()
}
