package certs

import (
	"fmt"
	"os"
)

// owner is who owns a file; -1 for whoever does.
type owner struct {
	uid, gid int
	// required says that a write fails where the file cannot be given to this owner.
	required bool
}

var anybody = owner{uid: -1, gid: -1}

// or fills in what is left open.
func (o owner) or(other owner) owner {
	if o.uid == -1 {
		o.uid = other.uid
	}
	if o.gid == -1 {
		o.gid = other.gid
	}
	return o
}

func (o owner) String() string {
	text := func(id int) string {
		if id == -1 {
			return "any"
		}
		return fmt.Sprint(id)
	}
	return text(o.uid) + ":" + text(o.gid)
}

// give gives a file that will have the mode to its owner. Where the process may not do that, and it is not required, the
// file stays the process's own, unless somebody would then be unable to read it: the API server has to go on reading its
// client certificate. Root reads everything.
func (o owner) give(path string, m mode) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	has := ownerOf(info)
	wanted := o.or(has)
	if wanted.uid == has.uid && wanted.gid == has.gid {
		return nil
	}
	err = os.Chown(path, wanted.uid, wanted.gid)
	if err == nil {
		return nil
	}
	if !notPermitted(err) || o.required {
		return fmt.Errorf("give it to %s: %w", wanted, err)
	}
	if os.Chown(path, -1, wanted.gid) == nil {
		has.gid = wanted.gid
	}
	userLoses := wanted.uid != has.uid && wanted.uid != 0
	groupLoses := wanted.gid != has.gid && m&0o040 != 0
	if m&0o004 == 0 && (userLoses || groupLoses) {
		return fmt.Errorf("its owner %s could not read it any more, and to give it away is not permitted to user %d: %w",
			wanted, has.uid, err)
	}
	return nil
}
