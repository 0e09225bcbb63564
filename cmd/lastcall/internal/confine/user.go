package confine

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// User is the user that a program runs as.
type User struct {
	// UID and GID are its user and group, Groups its supplementary groups.
	UID, GID uint32
	Groups   []uint32
	// Name and Home are what the system knows about the user, empty if it knows nothing.
	Name, Home string
}

// ParseUser parses a user's name, a UID, or UID:GID. Group and supplementary groups are those that
// the system has for the user; with a GID there are no supplementary ones. Only root may use it.
func ParseUser(text string) (*User, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("only root can run a program as another user, and this is user %d: start the server as root, or leave it out", os.Geteuid())
	}
	return lookUp(text)
}

// lookUp is ParseUser without the check for root.
func lookUp(text string) (*User, error) {
	id, gid, hasGroup := strings.Cut(text, ":")
	uid, err := parseID(id)
	isID := err == nil
	switch {
	case errors.Is(err, strconv.ErrRange):
		return nil, fmt.Errorf("%s is larger than any user's number", id)
	case !isID && hasGroup:
		return nil, fmt.Errorf("%q is no number: write a name alone, or UID:GID", id)
	}
	u, known, err := systemUser(id, isID)
	if err != nil {
		return nil, err
	}
	if hasGroup {
		if u.GID, err = parseID(gid); err != nil {
			return nil, fmt.Errorf("%q is no group's number: write UID:GID", gid)
		}
		u.Groups = nil
	} else if !known {
		return nil, fmt.Errorf("the system knows no user %d, and so no group: write %d:GID", uid, uid)
	}
	if isID {
		u.UID = uid
	}
	return u, nil
}

// systemUser looks a user up in the system. A user that is given by number may be unknown there.
func systemUser(id string, isID bool) (u *User, known bool, err error) {
	look := user.Lookup
	if isID {
		look = user.LookupId
	}
	found, err := look(id)
	if err != nil {
		if isID {
			return new(User), false, nil
		}
		return nil, false, fmt.Errorf("the system knows no user %q: write a UID:GID, or add the user", id)
	}
	u = &User{Name: found.Username, Home: found.HomeDir}
	groups, err := found.GroupIds()
	if err != nil {
		return nil, false, fmt.Errorf("groups of user %s: %w: write UID:GID for a user without", id, err)
	}
	if u.UID, err = parseID(found.Uid); err == nil {
		u.GID, err = parseID(found.Gid)
	}
	for _, text := range groups {
		g, groupErr := parseID(text)
		err = errors.Join(err, groupErr)
		if g != u.GID {
			u.Groups = append(u.Groups, g)
		}
	}
	return u, true, err
}

// parseID parses the number of a user or group. It refuses the largest one, which means "leave it
// as it is".
func parseID(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err == nil && n == 1<<32-1 {
		err = strconv.ErrRange
	}
	return uint32(n), err
}

// CanEnter reports whether the user may enter a directory with such a mode and owner.
func (u *User) CanEnter(mode os.FileMode, uid, gid uint32) bool {
	switch {
	case u.UID == 0:
		return true
	case u.UID == uid:
		return mode&0o100 != 0
	case u.inGroup(gid):
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}

func (u *User) inGroup(gid uint32) bool {
	for _, g := range append([]uint32{u.GID}, u.Groups...) {
		if g == gid {
			return true
		}
	}
	return false
}
