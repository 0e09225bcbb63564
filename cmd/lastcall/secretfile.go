package main

import (
	"fmt"
	"io"
	"os"
)

// looseFile returns a warning, and what to do, if others can read or change a file with a secret;
// else "". It looks for the bits that a server's token file must not have. A pipe has no content
// that others could find.
func looseFile(what, path string) string {
	info, err := os.Stat(path)
	if path == "" || err != nil || !ownersOnly || !info.Mode().IsRegular() {
		return ""
	}
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		return fmt.Sprintf("the mode %#o of the %s %s lets others read it or its group write it: run chmod 600 %s, and take a new secret if somebody may have read it", mode, what, path, path)
	}
	return ""
}

// warnOfLoose prints a line for each file with a secret of this command that others can read.
func (t *target) warnOfLoose(w io.Writer) {
	for _, text := range t.looseFiles() {
		_, _ = fmt.Fprintf(w, "lastcall: warning: %s\n", text) // the command still goes on
	}
}

// looseFiles returns a warning for each file with a secret of this command that others can read.
func (t *target) looseFiles() (all []string) {
	tokenFile := t.tokenFile
	if tokenFile == "" && os.Getenv(tokenEnv) == "" && t.store == "" && t.storeFile == "" {
		tokenFile = os.Getenv(tokenFileEnv)
	}
	for _, text := range []string{looseFile("store file", t.storeFile), looseFile("token file", tokenFile)} {
		if text != "" {
			all = append(all, text)
		}
	}
	return all
}
