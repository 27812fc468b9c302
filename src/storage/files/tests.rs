use futures_util::StreamExt as _;

use super::*;

async fn upload(files: &Files, bytes: &[u8]) -> Stored {
    let mut upload = files.upload(&Tenant::default()).await.unwrap();
    for piece in bytes.chunks(10_000) {
        upload.write(piece).await.unwrap();
    }
    upload.finish().await.unwrap()
}

async fn read(files: &Files, sha256: &str) -> Result<(u64, Vec<u8>), FileError> {
    let (length, stream) = files.read(&Tenant::default(), sha256).await?;
    let (mut stream, mut bytes) = (Box::pin(stream), Vec::new());
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok((length, bytes))
}

fn count(folder: &Path) -> usize {
    entries(folder).unwrap().iter().map(|path| if path.is_dir() { count(path) } else { 1 }).sum()
}

#[tokio::test]
async fn bytes_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::open(folder.path(), Sealer::plain()).unwrap();
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7] {
        let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let stored = upload(&files, &bytes).await;
        assert!(matches!(read(&files, &stored.digests().sha256).await, Err(FileError::NotFound)), "not published yet");
        let digests = stored.publish().await.unwrap();
        assert_eq!(digests.size, length as u64);
        assert_eq!(read(&files, &digests.sha256).await.unwrap(), (length as u64, bytes), "{length} bytes");
    }
}

#[tokio::test]
async fn hashes_are_those_that_metadata_wants() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::open(folder.path(), Sealer::plain()).unwrap();
    let digests = upload(&files, b"abc").await.publish().await.unwrap();
    // FIPS 180-2, appendices A.1 and B.1.
    assert_eq!(digests.sha1, "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(digests.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[tokio::test]
async fn what_is_not_published_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::open(folder.path(), Sealer::plain()).unwrap();
    let mut unfinished = files.upload(&Tenant::default()).await.unwrap();
    unfinished.write(b"half").await.unwrap();
    let finished = upload(&files, b"whole").await;
    assert_eq!(count(folder.path()), 2);
    drop((unfinished, finished));
    assert_eq!(count(folder.path()), 0);
}

#[tokio::test]
async fn a_damaged_document_is_never_delivered_whole() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::open(folder.path(), Sealer::plain()).unwrap();
    for length in [10, 2 * CHUNK] {
        let digests = upload(&files, &vec![7; length]).await.publish().await.unwrap();
        let path = files.0.path(&Tenant::default(), &digests.sha256).unwrap();
        for damage in [&b"\0\x07\x07\x08"[..], b"", b"\x09"] {
            std::fs::write(&path, damage).unwrap();
            let outcome = read(&files, &digests.sha256).await;
            assert!(matches!(outcome, Err(FileError::Damaged | FileError::Sealed(_))), "{length} {damage:?}");
        }
        upload(&files, &vec![7; length]).await.publish().await.unwrap();
        assert!(read(&files, &digests.sha256).await.is_ok(), "storing the same bytes again heals it");
    }
}

#[tokio::test]
async fn a_start_sweeps_what_nobody_names() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::open(folder.path(), Sealer::plain()).unwrap();
    let kept = upload(&files, b"kept").await.publish().await.unwrap();
    let orphan = upload(&files, b"orphan").await.publish().await.unwrap();
    std::fs::write(folder.path().join("incoming/left"), b"over").unwrap();
    assert_eq!(files.sweep(|_, sha256| sha256 == kept.sha256).unwrap(), 2);
    assert!(read(&files, &kept.sha256).await.is_ok());
    assert!(matches!(read(&files, &orphan.sha256).await, Err(FileError::NotFound)));
}

#[tokio::test]
async fn a_name_that_is_no_hash_reaches_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::open(folder.path(), Sealer::plain()).unwrap();
    for name in ["", "..", "../../etc/passwd", &"G".repeat(64), &"é".repeat(32)] {
        assert!(matches!(read(&files, name).await, Err(FileError::NotFound)), "{name}");
    }
}

#[tokio::test]
async fn orphans_go_when_all_that_is_being_stored_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::open(folder.path(), Sealer::plain()).unwrap();
    let kept = upload(&files, b"kept").await.publish().await.unwrap();
    let orphan = upload(&files, b"orphan").await.publish().await.unwrap();
    let published = [kept.sha256.to_string(), orphan.sha256.to_string()];
    let other_submission = files.settling().await;
    let tenant = Tenant::default();
    let mut removing = std::pin::pin!(files.remove_orphans(&tenant, &published, |sha256| sha256 == kept.sha256));
    assert!(futures_util::poll!(&mut removing).is_pending(), "another submission may be about to name them");
    drop(other_submission);
    assert_eq!(removing.await.unwrap(), 1);
    assert!(read(&files, &kept.sha256).await.is_ok());
    assert!(matches!(read(&files, &orphan.sha256).await, Err(FileError::NotFound)));
}
