//! Power cuts: the file system that a child works on is shut down at a random moment, mounted
//! again, and examined.
//!
//! Data in the page cache that has not reached the device is lost, as in a real power cut. A disk
//! that lies about written data is not simulated. Beside each index is a file that is never
//! synchronized: if it survived every cut, nothing would have been cut.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::{Cut, Ext4};
use crate::kills::{A_LIFE, Cause, OUTCOMES, live};
use crate::tally::{Tally, skipped};

const MEGABYTES: u64 = 256;

pub(crate) fn run(cuts: u64, seed: u64) -> bool {
    let mut tally = Tally::new("cuts", A_LIFE, cuts, &OUTCOMES);
    let mut unsynchronized = 0;
    for life in 0..cuts.div_ceil(A_LIFE) {
        let mut disk = match Ext4::new(MEGABYTES) {
            Ok(disk) => disk,
            Err(why) => {
                skipped("cuts", &why);
                return true;
            }
        };
        if let Err(why) =
            disk.cut(Cut::WithoutLog).and_then(|()| disk.unmount()).and_then(|()| disk.mount())
        {
            skipped("cuts", &why);
            return true;
        }
        let seed = seed + life;
        let mut rng = StdRng::seed_from_u64(seed ^ 0xC07);
        let folder = disk.path();
        let control = folder.join("control");
        let mut round = 0;
        let end = |worker: crate::child::Running| {
            round += 1;
            let text = round.to_string();
            std::fs::write(&control, &text).expect("a file");
            // Mostly the harder one.
            let cut = if rng.random_bool(0.8) { Cut::WithoutLog } else { Cut::WithLog };
            disk.cut(cut).expect("a file system that has been cut before");
            let ended = worker.kill();
            disk.unmount().expect("a file system that nobody uses");
            disk.mount().expect("a file system that replays its log");
            unsynchronized +=
                u64::from(std::fs::read_to_string(&control).ok().as_deref() != Some(&text));
            ended
        };
        live(&folder, seed, A_LIFE.min(cuts - life * A_LIFE), &mut tally, end, Cause::Disk);
    }
    tally.note(format!("a file that was not synchronized was lost {unsynchronized} times"));
    if unsynchronized == 0 && cuts >= 5 {
        tally.fail(seed, "no cut has lost anything: they cut nothing");
    }
    tally.finish()
}
