package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/sandbox"
)

// defaultSubID is how many IDs --subid takes: all that 16 bits can name, nobody's 65534 included.
const defaultSubID = 65536

// reservation holds the IDs of --subid; nil is none.
type reservation struct{ *idmap.Reservation }

// reserve takes the IDs that --subid asks for and gives them to spec.
func (o *options) reserve(spec *sandbox.Spec) (reservation, error) {
	if o.subID == 0 {
		return reservation{}, nil
	}
	r, err := idmap.Auto(o.subID)
	if err != nil {
		return reservation{}, err
	}
	spec.UIDs, spec.GIDs = r.UIDs, r.GIDs
	return reservation{r}, nil
}

// close gives the IDs back, once nothing runs any more.
func (r reservation) close() {
	if r.Reservation == nil {
		return
	}
	if err := r.Close(); err != nil {
		complain(err)
	}
}

func setSubID(o *options, a []string) error {
	o.subID = defaultSubID
	if len(a) == 0 {
		return nil
	}
	n, err := strconv.Atoi(a[0])
	if err != nil || n < 1 {
		return fmt.Errorf("%q is not a number from 1", a[0])
	}
	o.subID = n
	return nil
}

// setUser takes UID[:GID]; without a GID it is the UID.
func setUser(o *options, a []string) error {
	uid, gid, two := strings.Cut(a[0], ":")
	if !two {
		gid = uid
	}
	u := o.asUser()
	var err error
	if u.UID, err = parseID(uid); err != nil {
		return err
	}
	o.userSet = true
	u.GID, err = parseID(gid)
	return err
}

func setGroup(o *options, a []string) error {
	n, err := parseID(a[0])
	if err == nil {
		u := o.asUser()
		u.Groups = append(u.Groups, n)
	}
	return err
}

func (o *options) asUser() *sandbox.User {
	if o.user == nil {
		o.user = &sandbox.User{}
	}
	return o.user
}

// checkIDs refuses options that do not go together.
func (o *options) checkIDs() error {
	switch {
	case o.subID > 0 && (o.uid != nil || o.gid != nil):
		return errors.New("--subid: its IDs are 0 and up inside; --user says whom the command runs as, in place of --uid and --gid")
	case o.user != nil && !o.userSet && o.subID == 0:
		return errors.New("--group: there is no --user")
	}
	return nil
}
