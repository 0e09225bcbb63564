package httpapi

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
)

const (
	minSecret = 24
	maxTokens = 1 << 20 // bytes of the file
	// noTokens is the line of a file that admits nobody.
	noTokens = "none"
)

// foundTokens is a file of tokens as it was found.
type foundTokens struct {
	all  []token
	info os.FileInfo
	// changing: it was written to while it was read.
	changing bool
	// unfinished: its last line has no newline.
	unfinished bool
}

// readTokenFile reads a file. After an error in its text, info still identifies the file.
func readTokenFile(path string) (foundTokens, error) {
	f, err := openNonblocking(path)
	if err != nil {
		return foundTokens{}, err
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return foundTokens{}, err
	}
	found := foundTokens{info: info}
	if !info.Mode().IsRegular() {
		return foundTokens{}, fmt.Errorf("it is no file but %s: name a file, or a link to one", info.Mode().Type())
	}
	if err := checkMode(info, path); err != nil {
		return foundTokens{}, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxTokens+1))
	if err != nil {
		return found, err
	}
	after, err := f.Stat()
	if err != nil {
		return found, err
	}
	found.info, found.changing = after, !sameFile(info, after) || len(b) <= maxTokens && int64(len(b)) != after.Size()
	found.unfinished = len(b) > 0 && b[len(b)-1] != '\n'
	found.all, err = parseTokens(b)
	return found, err
}

// sameFile reports whether a file is the one that was found before, and was not written to since.
func sameFile(now, before os.FileInfo) bool {
	return before != nil && os.SameFile(now, before) && now.ModTime().Equal(before.ModTime()) && now.Size() == before.Size() && now.Mode() == before.Mode()
}

// checkMode refuses a file that others can read, or that another user owns, who could change its
// mode and its contents. Windows has no such bits.
func checkMode(info os.FileInfo, path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		return fmt.Errorf("its mode %#o lets others read it or its group write it: run chmod 600 %s, or in Kubernetes give the secret's volume the defaultMode 0440", mode, path)
	}
	if uid, foreign := foreignOwner(info); foreign {
		return fmt.Errorf("it belongs to the user %d: run chown on %s, so that it belongs to the server's user or to root", uid, path)
	}
	return nil
}

// parseTokens parses the lines of a file. No error contains a part of a secret.
func parseTokens(b []byte) ([]token, error) {
	if len(b) > maxTokens {
		return nil, fmt.Errorf("more than %d bytes", maxTokens)
	}
	var (
		all    []token
		nobody bool
		n      int
	)
	for line := range strings.Lines(string(b)) {
		n++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) == 1 && fields[0] == noTokens {
			nobody = true
			continue
		}
		t, err := parseToken(fields)
		if err == nil && slices.ContainsFunc(all, func(o token) bool { return o.name == t.name }) {
			err = fmt.Errorf("the name %s is there twice", t.name)
		}
		if err == nil && slices.ContainsFunc(all, func(o token) bool { return o.hash == t.hash }) {
			err = errors.New("the secret is another token's too")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		all = append(all, t)
	}
	switch {
	case len(all) == 0 && !nobody:
		return nil, errors.New("it has no token: write lines of NAME ROLE[,ROLE] SECRET into it, with the roles read, submit, operate; or the line none, to let nobody in")
	case len(all) > 0 && nobody:
		return nil, errors.New("it has tokens, and the line none, which means that there are no tokens: remove the one or the others")
	}
	return all, nil
}

func parseToken(fields []string) (t token, err error) {
	if len(fields) != 3 {
		return t, fmt.Errorf("%d words: write NAME ROLE[,ROLE] SECRET", len(fields))
	}
	t.name = fields[0]
	if len(t.name) > 100 || strings.ContainsFunc(t.name, func(c rune) bool { return c < '!' || c > '~' }) {
		return t, errors.New("the name must be at most 100 letters, digits and signs of ASCII")
	}
	for r := range strings.SplitSeq(fields[1], ",") {
		if !slices.Contains(roles(), Role(r)) {
			return t, errors.New("the second word must be roles, with commas in between: read, submit, operate")
		}
		t.roles = append(t.roles, Role(r))
	}
	if len(fields[2]) < minSecret || strings.ContainsFunc(fields[2], notInToken) {
		return t, fmt.Errorf("the secret must have at least %d letters, digits and - . _ ~ + / = : make one with openssl rand -base64 24", minSecret)
	}
	t.hash = sha256.Sum256([]byte(fields[2]))
	return t, nil
}

// notInToken reports whether a character is not allowed in a bearer token by RFC 6750.
func notInToken(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._~+/=", c))
}
