package file

import (
	"fmt"
	"os"
)

// Any leaves a user or a group as it is.
const Any = -1

// Owner is the user and the group that a file is given to.
type Owner struct {
	UID, GID int // Any: as they are
	// Required makes a write fail if the file cannot be given to this owner.
	Required bool
}

// Or fills in what is left open.
func (o Owner) Or(other Owner) Owner {
	if o.UID == Any {
		o.UID = other.UID
	}
	if o.GID == Any {
		o.GID = other.GID
	}
	return o
}

func (o Owner) String() string {
	text := func(id int) string {
		if id == Any {
			return "any"
		}
		return fmt.Sprint(id)
	}
	return text(o.UID) + ":" + text(o.GID)
}

// Give gives a file that will have the mode to its owner. If the process may not do that, the file stays the process's own,
// unless the owner is required, or could then no longer read the file. Root reads everything.
func (o Owner) Give(path string, mode os.FileMode) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	has := OwnerOf(info)
	wanted := o.Or(has)
	if wanted.UID == has.UID && wanted.GID == has.GID {
		return nil
	}
	err = os.Chown(path, wanted.UID, wanted.GID)
	if err == nil {
		return nil
	}
	if !notPermitted(err) || o.Required {
		return fmt.Errorf("give it to %s: %w", wanted, err)
	}
	if os.Chown(path, Any, wanted.GID) == nil {
		has.GID = wanted.GID
	}
	userLoses := wanted.UID != has.UID && wanted.UID != 0
	groupLoses := wanted.GID != has.GID && mode&0o040 != 0
	if mode&0o004 == 0 && (userLoses || groupLoses) {
		return fmt.Errorf("its owner %s could no longer read it, and user %d may not give it away: %w", wanted, has.UID, err)
	}
	return nil
}
